"""`tune`: the best thresholds of a sweep, in a model that predicts by them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from panoptic_blend.checkpoints.native import load_model, save_model
from panoptic_blend.cli import main
from panoptic_blend.evaluation.merging import Thresholds
from panoptic_blend.evaluation.sweep_file import read_sweep
from panoptic_blend.inference.evaluate import own_thresholds
from panoptic_blend.inference.tuning import TUNED, tuning_grid, write_tuned
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import talkative_model_config

from .test_sweep import Blurry, run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_model(build_model(talkative_model_config(), SHAPES), path)
    return path


def test_the_tuned_model_has_the_best_thresholds_and_its_pq(checkpoint: Path, shapes: Path, tmp_path: Path):
    predictor, model, output = Blurry(shapes), load_model(checkpoint), tmp_path / "out"
    before = own_thresholds(model.settings)
    run(predictor, shapes, output, tuning_grid(before))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tuned = write_tuned(model, output)
    sweep = read_sweep(output / "sweep.json")
    assert (tuned.before, tuned.tried) == (before, len(sweep.pq))
    assert tuned.pq_after == max(sweep.pq.values()) > tuned.pq_before == sweep.pq[before]

    written = load_model(output / TUNED)
    assert own_thresholds(written.settings) == tuned.after != before
    assert written.settings.shortest_edge == model.settings.shortest_edge
    assert all(torch.equal(weights[name], tensor) for name, tensor in written.state_dict().items())
    predictor.settings.min_score, predictor.settings.max_overlap = tuned.after.min_score, tuned.after.max_overlap
    predictor.settings.min_stuff_area = tuned.after.min_stuff_area
    metrics = json.loads(run(predictor, shapes, tmp_path / "again", sweep=None).read_text(encoding="utf-8"))
    assert metrics["PQ"] == tuned.pq_after

    told = json.loads((output / "tuning.json").read_text(encoding="utf-8"))
    assert (told["images"], told["tried"]) == (3, tuned.tried)
    assert told["before"] == {"min_score": 0.0, "max_overlap": 0.4, "min_stuff_area": 0, "PQ": tuned.pq_before}
    assert told["after"]["PQ"] == tuned.pq_after
    assert "too good" in told["note"]
    assert np.ptp(np.asarray(Image.open(output / "tuning.png").convert("L"))) > 200


def test_the_grid_has_own_thresholds_and_areas_around_theirs():
    grid = tuning_grid(Thresholds(0.42, 0.4, 64))
    assert {0.42, 0.1, 0.9} <= set(grid.min_score)
    assert grid.max_overlap == tuple(n / 10 for n in range(1, 10))
    assert grid.min_stuff_area == (0, 4, 16, 32, 64, 128, 256, 1024)
    assert 4096 in tuning_grid(Thresholds(0.42, 0.4, 0)).min_stuff_area


def test_the_command_goes_on_from_a_sweep_without_predicting(
    checkpoint: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--checkpoint", checkpoint, "--images", shapes / "val", "--output", tmp_path / "out"]
    words += ["--annotations", shapes / "annotations" / "panoptic_val.json"]
    assert main(["evaluate", *map(str, words), "--sweep"]) == 0
    journal = tmp_path / "out" / "progress.jsonl"
    before = journal.read_bytes()
    assert "The best of 135 thresholds on these images: PQ 0.0 with min_score 0, max_ov" in capsys.readouterr().out
    assert main(["tune", *map(str, words)]) == 0
    assert journal.read_bytes() == before
    out = capsys.readouterr().out
    assert "PQ 0.0 with min_score 0, max_overlap 0.4, min_stuff_area 0\n" in out
    assert f"written: {tmp_path / 'out' / TUNED}. The thresholds were chosen on these images" in out
    assert load_model(tmp_path / "out" / TUNED).categories == SHAPES
