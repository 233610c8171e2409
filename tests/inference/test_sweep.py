"""`evaluate --sweep`: the numbers of evaluating once per pair of thresholds, whatever interrupts it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.merging import Grid, Thresholds
from panoptic_blend.evaluation.sweep_file import read_sweep
from panoptic_blend.inference.evaluate import evaluate
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.inference.predictor import ImageLike, Predictor
from panoptic_blend.inference.torch_model import TorchModel
from panoptic_blend.modeling.build import build_model
from panoptic_blend.structures import Instances, PanopticPrediction
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.synthetic.shapes import generate_shapes
from tests.stuff_sets import relabel_as_stuff
from tests.tiny import talkative_model_config

from .test_keeping import Sizes, interrupt_at

QUIET = Console(quiet=True)
GRID = Grid((0.3, 0.6), (0.1, 0.7), (0, 1500))


class Blurry(Predictor):
    """Knows the truth, but detects every thing twice, beside its place, and takes the left half for another stuff."""

    def __init__(self, root: Path):
        super().__init__(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")
        truth = PanopticAnnotations.load(root / "annotations" / "panoptic_val.json")
        dataset = EvaluationDataset(truth, root / "val", truth.default_segments_folder)
        self.truth = {sample.image.tobytes(): sample for sample in map(dataset.__getitem__, range(len(dataset)))}

    def predict_batch(self, images: Sequence[ImageLike]) -> list[Prediction]:
        predictions = []
        for image in images:
            assert isinstance(image, np.ndarray)
            assert isinstance(self.engine, TorchModel)
            sample, rng = self.truth[image.tobytes()], np.random.default_rng(image.sum())
            assert sample.id_map is not None
            height, width = image.shape[:2]
            boxes, labels = [], []
            semantic = np.zeros((height, width), np.uint8)
            for segment in sample.record.segments:
                if not SHAPES.by_id(segment.category_id).is_thing:
                    semantic[sample.id_map == segment.id] = SHAPES.semantic_label(segment.category_id)
                    continue
                x, y, w, h = segment.bbox
                for left, top in ((x + w // 4, y), (x, y + h // 12)):
                    boxes.append([left, top, min(left + w, width), min(top + h, height)])
                    labels.append(SHAPES.thing_label(segment.category_id))
            semantic[:, : width // 2] = np.where(semantic[:, : width // 2], 1, 0)
            instances = Instances(
                torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                torch.tensor(np.sort(rng.random(len(boxes)))[::-1].copy(), dtype=torch.float32),
                torch.tensor(labels, dtype=torch.int64),
                torch.ones(len(boxes), 14, 14),
                (height, width),
            )
            merged = self.engine.model.postprocess.merge(instances, torch.from_numpy(semantic))
            predictions.append(Prediction(image, PanopticPrediction(*merged, instances, semantic), SHAPES))
        return predictions


@pytest.fixture
def predictor(shapes: Path) -> Predictor:
    torch.manual_seed(0)
    return Blurry(shapes)


def run(predictor: Predictor, shapes: Path, output: Path, sweep: Grid | None = GRID, overwrite: bool = False) -> Path:
    truth = PanopticAnnotations.load(shapes / "annotations" / "panoptic_val.json")
    return evaluate(predictor, truth, shapes / "val", output, QUIET, sweep=sweep, overwrite=overwrite)


def test_every_pair_has_the_numbers_of_its_own_evaluation(predictor: Predictor, shapes: Path, tmp_path: Path):
    run(predictor, shapes, tmp_path / "sweep")
    sweep = json.loads((tmp_path / "sweep" / "sweep.json").read_text(encoding="utf-8"))
    assert (sweep["images"], sweep["own"]) == (3, {"min_score": 0.0, "max_overlap": 0.4, "min_stuff_area": 0})
    assert len(sweep["points"]) == 3 * 3 * 2
    for number, point in enumerate(sweep["points"]):
        for name in sweep["own"]:
            setattr(predictor.settings, name, point[name])
        path = run(predictor, shapes, tmp_path / f"{number}", sweep=None)
        metrics = json.loads(path.read_text(encoding="utf-8"))
        assert {name: metrics.get(name, point[name]) for name in point} == point
    qualities = [point["PQ"] for point in sweep["points"]]
    assert len(set(qualities)) > 5
    best = next(point for point in sweep["points"] if sweep["best"].items() <= point.items())
    assert best["PQ"] == max(qualities)


def test_an_interrupted_sweep_ends_with_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shapes = generate_shapes(tmp_path / "shapes", train=1, val=6)
    predictor = Blurry(shapes)
    run(predictor, shapes, tmp_path / "whole")
    with monkeypatch.context() as patch:
        Sizes(predictor, patch, interrupt_at(4))
        with pytest.raises(KeyboardInterrupt):
            run(predictor, shapes, tmp_path / "out")
    assert not (tmp_path / "out" / "sweep.json").exists()
    sizes = Sizes(predictor, monkeypatch)
    run(predictor, shapes, tmp_path / "out")
    assert 2 <= len(sizes.seen) < 6  # images may have waited to be written when the interrupt came
    for name in ("sweep.json", "metrics.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("before", [0, 300])  # more labels than a byte holds
def test_stuff_alone_is_swept(before: int, shapes: Path, tmp_path: Path):
    root = relabel_as_stuff(shapes, tmp_path / "stuff", before)
    truth = PanopticAnnotations.load(root / "annotations" / "panoptic_val.json")
    torch.manual_seed(0)
    predictor = Predictor(build_model(talkative_model_config(), truth.categories), "cpu", "fp32")
    evaluate(predictor, truth, root / "val", tmp_path / "truth", QUIET)
    own = PanopticAnnotations.load(tmp_path / "truth" / "predictions.json")
    evaluate(predictor, own, root / "val", tmp_path / "out", QUIET, sweep=Grid((0.5,), (0.5,), (0, 10**6)))
    swept = read_sweep(tmp_path / "out" / "sweep.json")
    assert {point.min_stuff_area: pq for point, pq in swept.pq.items()} == {0: 100, 10**6: 0}
    assert len(swept.pq) == 8


def test_predictions_that_were_kept_without_stuff_are_not_swept(predictor: Predictor, shapes: Path, tmp_path: Path):
    run(predictor, shapes, tmp_path / "out", sweep=None)
    with pytest.raises(DatasetError, match=r"made with sweep null \(now true\).*--overwrite"):
        run(predictor, shapes, tmp_path / "out")
    run(predictor, shapes, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "sweep.json").is_file()


def test_the_file_is_read_back_and_a_broken_one_is_named(predictor: Predictor, shapes: Path, tmp_path: Path):
    run(predictor, shapes, tmp_path / "out")
    path = tmp_path / "out" / "sweep.json"
    swept = read_sweep(path)
    assert (swept.images, swept.own) == (3, Thresholds(0.0, 0.4, 0))
    assert list(swept.pq) == list(GRID.including(swept.own).points)
    text = path.read_text(encoding="utf-8")
    for broken in (
        "",
        "[]",
        "{}",
        text[:-20],
        text.replace('"PQ"', '"QP"'),
        text.replace('"own"', '"mine"'),
        text.replace(": 0.3", ": 0.35", 1),
    ):
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(DatasetError, match=r"sweep\.json: is no complete sweep"):
            read_sweep(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_sweep(tmp_path)
