from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from panoptic_blend.coco import predictions
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.data.dataset import EvaluationSample
from panoptic_blend.errors import DatasetError
from panoptic_blend.inference.evaluate import evaluate
from panoptic_blend.inference.predictor import Prediction, Predictor
from panoptic_blend.inference.sources import ImageFiles, find_images
from panoptic_blend.inference.writing import OverlayFolder, predict_samples, write_predictions
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
    return ImageFiles(find_images([str(tmp_path / "in")], ()))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_batches_write_what_single_pictures_do(predictor: Predictor, source: ImageFiles, tmp_path: Path):
    for batch in (1, 3):
        result = write_predictions(predictor, source, tmp_path / str(batch), QUIET, overlays=True, batch=batch)
        assert result.written == 6
        assert len(result.unreadable) == 1
        assert "2.png" in result.unreadable[0]
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


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def cut(self: Path, data: bytes) -> NoReturn:
        with open(self, "wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", cut)
    with pytest.raises(OSError, match="No space left"):
        OverlayFolder(tmp_path).write("a.png", Image.new("RGB", (40, 30)))
    assert not list(tmp_path.iterdir())


class Meeting:
    """Three threads must meet while one reads the third picture, one predicts the second and one writes the first."""

    def __init__(self, source: ImageFiles):
        self.source = source
        self.barrier = threading.Barrier(3)
        self.predicted = 0

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> EvaluationSample:
        if index == 2:
            self.barrier.wait(SOON)
        return self.source[index]

    def predict(self, predictor: Predictor, pictures: list[torch.Tensor]) -> list[Prediction]:
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
    monkeypatch.setattr(PredictionWriter, "_publish", lambda self, staging: None)
    assert write_predictions(slow, meeting, tmp_path / "out", QUIET).written == 7
    assert not meeting.barrier.broken


@pytest.mark.parametrize("failing", ["0.png", "6.png"])
def test_what_goes_wrong_in_writing_is_raised_and_leaves_an_older_result(
    predictor: Predictor, source: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
):
    error = OSError(28, "No space left on device")
    output = tmp_path / "out"
    write_predictions(predictor, source, output, QUIET)
    before = contents(output)
    write_id_map = predictions.write_id_map

    def write(path: Path, id_map: IdMap) -> None:
        if path.name == failing:
            raise error
        write_id_map(path, np.zeros_like(id_map))

    monkeypatch.setattr(predictions, "write_id_map", write)
    with pytest.raises(OSError, match="No space left") as caught:
        write_predictions(predictor, source, output, QUIET, batch=2)
    assert caught.value is error
    assert contents(output) == before


def test_ctrl_c_while_predicting_waits_for_the_writer_and_leaves_an_older_result(
    predictor: Predictor, source: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "out"
    write_predictions(predictor, source, output, QUIET)
    before = contents(output)
    writing, interrupted = threading.Event(), threading.Event()
    write_id_map, predict = predictions.write_id_map, predictor.model.predict
    batches = 0

    def write(path: Path, id_map: IdMap) -> None:
        writing.set()
        assert interrupted.wait(SOON)
        write_id_map(path, id_map)

    def interrupt(images: list[torch.Tensor], sizes: list[tuple[int, int]]) -> object:
        nonlocal batches
        batches += 1
        if batches == 3:
            assert writing.wait(SOON)
            threading.Timer(0.05, interrupted.set).start()
            raise KeyboardInterrupt
        return predict(images, sizes)

    monkeypatch.setattr(predictions, "write_id_map", write)
    monkeypatch.setattr(predictor.model, "predict", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_predictions(predictor, source, output, QUIET)
    assert contents(output) == before
    assert not list(output.glob(".*"))


def test_an_image_listed_twice_is_reported_from_the_writer(predictor: Predictor, source: ImageFiles, tmp_path: Path):
    class Twice(ImageFiles):
        def __getitem__(self, index: int) -> EvaluationSample:
            return super().__getitem__(0)

    with pytest.raises(DatasetError, match="predicted twice"):
        write_predictions(predictor, Twice(source.files), tmp_path / "out", QUIET)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_bar_advances_picture_by_picture(predictor: Predictor, source: ImageFiles, monkeypatch: pytest.MonkeyPatch):
    advanced: list[object] = []
    monkeypatch.setattr(Progress, "advance", lambda bar, task: advanced.append(task))
    counts = [len(advanced) for _ in predict_samples(predictor, source, QUIET, unreadable=[], batch=3)]
    assert counts == [2, 3, 4, 5, 6, 7]  # the unreadable third was met before the first batch was full


def test_evaluating_in_batches_finds_the_same_and_stops_at_an_unreadable_picture(
    predictor: Predictor, shapes_root: Path, tmp_path: Path
):
    annotations = PanopticAnnotations.load(shapes_root / "annotations" / "panoptic_val.json")
    for batch in (1, 2):
        output = tmp_path / str(batch)
        evaluate(predictor, annotations, shapes_root / "val", output, QUIET, overlays=2, batch=batch)
        assert len(list((output / "overlays").iterdir())) == 2
    alone, together = (json.loads((tmp_path / each / "metrics.json").read_text()) for each in "12")
    assert together["semantic"]["mIoU"] == pytest.approx(alone["semantic"]["mIoU"])
    assert together["PQ"] == pytest.approx(alone["PQ"])
    assert contents(tmp_path / "2" / "predictions") == contents(tmp_path / "1" / "predictions")
    before = contents(tmp_path / "2")
    (tmp_path / "images").mkdir()
    for image in (shapes_root / "val").iterdir():
        (tmp_path / "images" / image.name).write_bytes(image.read_bytes())
    (tmp_path / "images" / annotations[1].file_name).write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=annotations[1].file_name):
        evaluate(predictor, annotations, tmp_path / "images", tmp_path / "2", QUIET, batch=2)
    assert contents(tmp_path / "2") == before
