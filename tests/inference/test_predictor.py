from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.data.images import read_image
from panoptic_blend.data.scene import SHAPES
from panoptic_blend.data.transforms import resize_shortest_edge
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.inference.predictor import Predictor, read_ahead
from panoptic_blend.modeling.panoptic_blend import build_model
from tests.tiny import tiny_model_config


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    config = tiny_model_config()
    config.merge.min_score = config.fcos.score_threshold = 0.0
    config.merge.min_stuff_area = 0
    return Predictor(build_model(config, SHAPES), "cpu")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "street.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)).resize((140, 100)).save(path)
    return path


def test_every_form_of_a_picture_gives_the_same_prediction(predictor: Predictor, picture: Path):
    expected = predictor(picture)
    array = np.asarray(Image.open(picture))
    assert len(expected.segments) > 1
    assert np.array_equal(expected.image, array)
    flipped = np.ascontiguousarray(array[:, ::-1])[:, ::-1]  # a view with negative strides
    for form in (str(picture), Image.open(picture), array, flipped, torch.tensor(array).permute(2, 0, 1)):
        prediction = predictor(form)
        assert np.array_equal(prediction.id_map, expected.id_map)
        assert prediction.segments == expected.segments


def test_the_model_sees_its_own_size_and_answers_at_the_pictures(predictor: Predictor, picture: Path):
    image = resize_shortest_edge(read_image(picture), 64, 128)
    assert image.shape == (3, 64, 90)
    (expected,) = predictor.model.predict([image], [(100, 140)])
    assert np.array_equal(predictor(picture).id_map, expected.id_map)


@pytest.mark.parametrize(
    "form",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((3, 5, 5), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        torch.zeros(5, 5, 3, dtype=torch.uint8),
        torch.zeros(3, 5, 5),
    ],
)
def test_other_arrays_are_refused_with_their_shape(predictor: Predictor, form: np.ndarray | torch.Tensor):
    with pytest.raises(DatasetError, match=r"5, 5.*uint8 RGB"):
        predictor(form)


def test_save_writes_the_map_and_what_its_ids_mean(predictor: Predictor, picture: Path, tmp_path: Path):
    prediction = predictor(picture)
    prediction.save(tmp_path / "new" / "out.png")
    assert np.array_equal(read_id_map(tmp_path / "new" / "out.png"), prediction.id_map)
    data = json.loads((tmp_path / "new" / "out.json").read_text())
    assert data["file_name"] == "out.png"
    assert len(data["segments_info"]) == len(prediction.segments)
    for row, segment in zip(data["segments_info"], prediction.segments, strict=True):
        category = SHAPES.by_id(segment.category_id)
        assert (row["id"], row["category"], row["isthing"]) == (segment.id, category.name, int(category.is_thing))
        assert row["area"] == int((prediction.id_map == segment.id).sum())
    with pytest.raises(ConfigError, match=r"out\.png"):
        prediction.save(tmp_path / "out.jpg")


def test_overlay_is_a_picture_of_it(predictor: Predictor, picture: Path):
    assert predictor(picture).overlay().size == (140 * 4, 100 * 4)


def test_predict_many_keeps_the_order_and_stops_at_a_bad_file(predictor: Predictor, picture: Path, tmp_path: Path):
    dark = tmp_path / "dark.png"
    Image.new("RGB", (80, 40)).save(dark)
    sizes = [prediction.id_map.shape for prediction in predictor.predict_many([picture, dark, picture])]
    assert sizes == [(100, 140), (40, 80), (100, 140)]
    with pytest.raises(DatasetError, match=r"none\.png"):
        list(predictor.predict_many([picture, tmp_path / "none.png"]))


def test_reading_ahead_reads_few_items_and_keeps_their_order():
    begun: list[int] = []

    def read(item: int) -> int:
        begun.append(item)
        return item * item

    seen = []
    for item, result in read_ahead(range(20), read, depth=3):
        seen.append((item, result.result()))
        assert len(begun) <= item + 5
    assert seen == [(i, i * i) for i in range(20)]


def test_an_unknown_device_is_named():
    with pytest.raises(ConfigError, match="nonsense"):
        Predictor(build_model(tiny_model_config(), SHAPES), "nonsense")
