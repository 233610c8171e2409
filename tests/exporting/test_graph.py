"""The whole graph gives the id map and the segments of `predict`, for pictures of any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from panoptic_blend.categories import Categories
from panoptic_blend.exporting.graph import build_graph
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.network.bases import SharedBases
from panoptic_blend.modeling.network.masks.blender import Blender
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import PanopticPrediction
from tests.tiny import talkative_model_config

CATEGORIES = Categories.from_json([{"id": 3 * i + 1, "name": f"category {i}", "isthing": int(i < 3)} for i in range(7)])
Graph = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def open_graph(model: PanopticBlend) -> Graph:
    """A function image, thresholds -> id map, segments, scores."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(build_graph(model).SerializeToString(), options)
    return lambda image, **thresholds: tuple(session.run(None, {"image": image, **thresholds}))  # type: ignore[return-value]


def lively_model(categories: Categories = CATEGORIES) -> PanopticBlend:
    """Random weights whose scores, masks and labels lie well apart."""
    torch.manual_seed(0)
    model = build_model(talkative_model_config(), categories).eval()
    network, head = model.network, model.network.head
    assert head is not None
    assert isinstance(network.bases, SharedBases)
    assert isinstance(model.mask_head, Blender)
    for layer, std, bias in (
        (head.class_logits, 0.5, -2.0),
        (head.distances, 0.05, 0.4),
        (network.bases.predictor, 1.0, 0.0),
        (model.mask_head.top_layer, 0.3, 0.0),
    ):
        torch.nn.init.normal_(layer.weight, std=std)
        torch.nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return model


@pytest.fixture(scope="module")
def model() -> PanopticBlend:
    return lively_model()


@pytest.fixture(scope="module")
def graph(model: PanopticBlend) -> Graph:
    return open_graph(model)


def predict(model: PanopticBlend, image: np.ndarray) -> PanopticPrediction:
    seen = model.resize(torch.from_numpy(image).permute(2, 0, 1))
    return model.predict([seen], [image.shape[:2]])[0]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blurred noise: shapes of several sizes."""
    noise = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 255
    grown = torch.nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 255)
    return grown[0].byte().permute(1, 2, 0).numpy()


def assert_same(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], expected: PanopticPrediction, tolerance: float = 1e-4
) -> None:
    """The same segments and pixels; instances whose scores are equal up to rounding may change places."""
    id_map, rows, scores = found
    segments = sorted((row[2], row[1], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True))
    wanted = sorted((int(each.is_thing), each.category_id, each.score) for each in expected.segments)
    assert [each[:2] for each in segments] == [each[:2] for each in wanted]
    np.testing.assert_allclose([each[2] for each in segments], [each[2] for each in wanted], rtol=0, atol=tolerance)
    assert id_map.dtype == np.int32
    assert id_map.shape == expected.id_map.shape
    by_id = np.array([0.0, *scores])
    wanted_by_id = np.array([0.0, *(each.score for each in expected.segments)])
    assert rows[:, 0].tolist() == list(range(1, len(rows) + 1))
    equal = np.isclose(by_id[id_map], wanted_by_id[expected.id_map], rtol=0, atol=tolerance)
    assert equal.mean() > 0.995
    for number, _, _, area, x, y, width, height in rows.tolist():
        rows_of, columns_of = np.nonzero(id_map == number)
        assert len(rows_of) == area
        box = (columns_of.min(), rows_of.min(), np.ptp(columns_of) + 1, np.ptp(rows_of) + 1)
        assert box == (x, y, width, height)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 53), (150, 90), (64, 64)])
def test_pictures_of_any_size_give_what_predict_gives(size: tuple[int, int], graph: Graph, model: PanopticBlend):
    image = picture(*size)
    expected = predict(model, image)
    assert expected.segments
    assert_same(graph(image), expected)


def test_boxes_that_leave_the_picture_have_the_masks_of_predict():
    model = lively_model()
    assert model.network.head is not None
    torch.nn.init.constant_(model.network.head.distances.bias, 2.5)  # type: ignore[arg-type]
    image = picture(60, 90)
    expected = predict(model, image)
    assert any((patch == 0.5).float().mean() > 0.2 for patch in expected.instances.mask_patches)
    (id_map, _, _) = open_graph(model)(image)
    assert (id_map == expected.id_map).mean() > 0.999


@hypothesis_settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(height=st.integers(1, 200), width=st.integers(1, 200), seed=st.integers(0, 99))
def test_random_pictures_of_random_sizes(height: int, width: int, seed: int, graph: Graph, model: PanopticBlend):
    image = picture(height, width, seed)
    assert_same(graph(image), predict(model, image))


@pytest.mark.parametrize(
    ("name", "value", "dtype"),
    [("min_score", 0.704, np.float32), ("max_overlap", 0.05, np.float32), ("min_stuff_area", 900, np.int64)],
)
def test_thresholds_change_the_map_as_they_change_predictions(
    name: str, value: float, dtype: type, model: PanopticBlend, graph: Graph
):
    image = picture(90, 120)
    usual = predict(model, image)
    before = getattr(model.settings, name)
    setattr(model.settings, name, value)
    changed = predict(model, image)
    setattr(model.settings, name, before)
    assert len(changed.segments) != len(usual.segments)
    assert_same(graph(image, **{name: np.array(value, dtype)}), changed)
