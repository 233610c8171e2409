from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from panoptic_blend.coco import predictions
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationSample, ImageLocation
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.files.images import Pixels
from panoptic_blend.inference.evaluate import evaluate
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.sources import ImageFiles, find_images
from panoptic_blend.inference.writing import write_predictions
from panoptic_blend.modeling.build import build_model
from panoptic_blend.structures import IdMap
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import talkative_model_config

SOON = 30
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")


@pytest.fixture
def source(tmp_path: Path) -> ImageFiles:
    """Seven pictures of two sizes; the third cannot be read."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(7):
        noise = Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8))
        noise.resize((90, 60) if number < 5 else (60, 60)).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "2.png").write_bytes(b"no picture")
    return ImageFiles(find_images([str(tmp_path / "in")], ()).files)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_tiffs_hold_the_ids_of_the_pngs_and_come_later_too(predictor: Predictor, source: ImageFiles, tmp_path: Path):
    tifffile = pytest.importorskip("tifffile")
    out = tmp_path / "out"
    write_predictions(predictor, source, out, QUIET)
    assert not (out / "tiffs").exists()
    pngs = {path.stem: path.read_bytes() for path in (out / "predictions").iterdir()}
    write_predictions(predictor, source, out, QUIET, tiffs=True)
    assert {path.stem for path in (out / "tiffs").iterdir()} == set(pngs)
    for name, before in pngs.items():
        assert (out / "predictions" / f"{name}.png").read_bytes() == before
        ids = tifffile.imread(out / "tiffs" / f"{name}.tif")
        assert ids.dtype == np.int32
        np.testing.assert_array_equal(ids, read_id_map(out / "predictions" / f"{name}.png"))
    again = ImageFiles(source.files[:1])
    write_predictions(predictor, again, out, QUIET, overwrite=True)
    assert not list((out / "tiffs").iterdir())  # those were of what is replaced


def test_batches_write_what_single_pictures_do(predictor: Predictor, source: ImageFiles, tmp_path: Path):
    for batch in (1, 3):
        result = write_predictions(predictor, source, tmp_path / str(batch), QUIET, overlays=True, batch=batch)
        assert result.written == 6
        assert len(result.failures) == 1
        assert "2.png" in result.failures[0]
        assert len(list((tmp_path / str(batch) / "overlays").iterdir())) == 6
    alone, together = (json.loads((tmp_path / each / "predictions.json").read_text()) for each in "13")
    assert [image["file_name"] for image in alone["images"]] == [f"{number}.png" for number in (0, 1, 3, 4, 5, 6)]
    assert together["images"] == alone["images"]
    for ours, expected in zip(together["annotations"], alone["annotations"], strict=True):
        assert ours["image_id"] == expected["image_id"]
        id_maps = [read_id_map(tmp_path / each / "predictions" / expected["file_name"]) for each in "13"]
        assert np.array_equal(*id_maps)
        assert len(ours["segments_info"]) == len(expected["segments_info"]) > 0
        for segment, true in zip(ours["segments_info"], expected["segments_info"], strict=True):
            assert segment.pop("score") == pytest.approx(true.pop("score"), abs=1e-5)
            assert segment == true


class Meeting:
    """Three threads must meet while one reads the third picture, one predicts the second and one writes the first."""

    def __init__(self, source: ImageFiles):
        self.source = source
        self.barrier = threading.Barrier(3)
        self.predicted = 0

    def __len__(self) -> int:
        return len(self.source)

    def locate(self, index: int) -> ImageLocation:
        return self.source.locate(index)

    def __getitem__(self, index: int) -> EvaluationSample:
        if index == 2:
            self.barrier.wait(SOON)
        return self.source[index]

    def predict(self, predictor: Predictor, pictures: list[Pixels]) -> list[Prediction]:
        self.predicted += 1
        if self.predicted == 2:
            self.barrier.wait(SOON)
        return [predictor(picture) for picture in pictures]

    def write(self, path: Path, id_map: IdMap) -> None:
        if path.name == "0.png":
            self.barrier.wait(SOON)


def test_reading_predicting_and_writing_overlap(
    predictor: Predictor, source: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.new("RGB", (90, 60)).save(tmp_path / "in" / "2.png")
    meeting = Meeting(source)
    slow = Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")
    monkeypatch.setattr(slow, "predict_batch", lambda pictures: meeting.predict(predictor, pictures))
    monkeypatch.setattr(predictions, "write_id_map", meeting.write)
    assert write_predictions(slow, meeting, tmp_path / "out", QUIET).written == 7
    assert not meeting.barrier.broken


def test_the_bar_advances_picture_by_picture(
    predictor: Predictor, source: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    events: list[str] = []
    predict = predictor.engine.model.predict

    def note(images: list[torch.Tensor], sizes: list[tuple[int, int]]) -> object:
        events.append(f"predict {len(images)}")
        return predict(images, sizes)

    monkeypatch.setattr(predictor.engine.model, "predict", note)
    monkeypatch.setattr(Progress, "update", lambda bar, task, completed: events.append("advance"))
    write_predictions(predictor, source, tmp_path / "out", QUIET, batch=3)
    three = ["predict 3", *["advance"] * 3]
    assert events[0] == "advance"  # the unreadable third was met before the first batch was full
    assert events[1:] == [*three, "predict 1", "advance", "predict 2", "advance", "advance"]


def test_evaluating_in_batches_finds_the_same(predictor: Predictor, shapes_root: Path, tmp_path: Path):
    annotations = PanopticAnnotations.load(shapes_root / "annotations" / "panoptic_val.json")
    for batch in (1, 2):
        output = tmp_path / str(batch)
        evaluate(predictor, annotations, shapes_root / "val", output, QUIET, overlays=2, batch=batch)
        assert len(list((output / "overlays").iterdir())) == 2
    alone, together = (json.loads((tmp_path / each / "metrics.json").read_text()) for each in "12")
    assert together["semantic"]["mIoU"] == pytest.approx(alone["semantic"]["mIoU"])
    assert together["PQ"] == pytest.approx(alone["PQ"])
    pngs = [{path.name: path.read_bytes() for path in (tmp_path / each / "predictions").iterdir()} for each in "12"]
    assert pngs[0] == pngs[1]
