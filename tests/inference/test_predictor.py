from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.data.images import read_image
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.modeling.build import build_model
from panoptic_blend.resizing import resize_shortest_edge
from panoptic_blend.structures import PanopticPrediction
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import talkative_model_config, tiny_model_config


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")


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
    (expected,) = predictor.engine.model.predict([image], [(100, 140)])
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


@pytest.mark.parametrize(
    "form",
    [np.zeros((0, 5, 3), np.uint8), torch.zeros(3, 5, 0, dtype=torch.uint8), Image.new("RGB", (0, 5))],
)
def test_pictures_without_pixels_are_refused(predictor: Predictor, form: np.ndarray | torch.Tensor | Image.Image):
    with pytest.raises(DatasetError, match="0"):
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
    for batch in (1, 3):
        predictions = predictor.predict_many([picture, picture, tmp_path / "none.png", picture], batch)
        assert [next(predictions).id_map.shape for _ in range(2)] == [(100, 140)] * 2
        with pytest.raises(DatasetError, match=r"none\.png"):
            next(predictions)


SIZES = [(100, 140), (50, 70), (200, 280), (100, 140), (140, 100), (100, 100), (70, 70), (100, 140)]
"""(height, width): the first four have one size at the network's input, then come one, two and one."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(1)
    for number, (height, width) in enumerate(SIZES):
        noise = Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8))
        noise.resize((width, height)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def batch_sizes(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, ...]]]:
    """Takes the sizes of the images of every batch that the model gets from here on."""
    seen: list[list[tuple[int, ...]]] = []
    predict = predictor.engine.model.predict

    def listen(images: list[Tensor], sizes: list[tuple[int, int]]) -> list[PanopticPrediction]:
        seen.append([tuple(image.shape[1:]) for image in images])
        return predict(images, sizes)

    monkeypatch.setattr(predictor.engine.model, "predict", listen)
    return seen


def test_batches_predict_what_single_pictures_do(
    predictor: Predictor, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
):
    expected = [predictor(picture) for picture in pictures]
    seen = batch_sizes(predictor, monkeypatch)
    many = list(predictor.predict_many(pictures, batch=3))
    assert seen == [[(64, 90)] * 3, [(64, 90)], [(90, 64)], [(64, 64)] * 2, [(64, 90)]]
    seen.clear()
    at_once = predictor.predict_batch(pictures)
    assert seen == [[(64, 90)] * 4, [(90, 64)], [(64, 64)] * 2, [(64, 90)]]
    for predictions in (many, at_once):
        for ours, alone, size in zip(predictions, expected, SIZES, strict=True):
            assert ours.id_map.shape == size
            assert np.array_equal(ours.image, alone.image)
            assert np.array_equal(ours.id_map, alone.id_map)
            assert [replace(segment, score=0) for segment in ours.segments] == [
                replace(segment, score=0) for segment in alone.segments
            ]
            scores = [segment.score for segment in alone.segments]
            assert [segment.score for segment in ours.segments] == pytest.approx(scores, abs=1e-5)


def test_no_pictures_are_a_batch_too_but_a_batch_of_none_is_refused(predictor: Predictor, picture: Path):
    assert predictor.predict_batch([]) == []
    with pytest.raises(ConfigError, match="batch 0"):
        list(predictor.predict_many([picture], batch=0))


def test_pictures_in_memory_can_be_many_but_one_path_cannot(predictor: Predictor, picture: Path):
    (found,) = predictor.predict_many([np.asarray(Image.open(picture).convert("RGB"))])
    assert np.array_equal(found.id_map, predictor(picture).id_map)
    with pytest.raises(ConfigError, match="Give a list"):
        next(predictor.predict_many(str(picture)))


def test_an_unknown_precision_is_named():
    with pytest.raises(ConfigError, match=r"precision 'fp16': choose one of auto, fp32, bf16\."):
        Predictor(build_model(tiny_model_config(), SHAPES), "cpu", "fp16")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["nonsense", "meta"])
def test_an_unusable_device_is_named(name: str):
    with pytest.raises(ConfigError, match=name):
        Predictor(build_model(tiny_model_config(), SHAPES), name)
