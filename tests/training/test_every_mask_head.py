"""Every mask head goes the whole way: train, stop, resume, evaluate, predict."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from panoptic_blend.checkpoints.native import load_model
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.errors import TrainingStopped
from panoptic_blend.inference.evaluate import evaluate
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.training.module import TrainingModule
from panoptic_blend.training.run import train
from tests.tiny import tiny_model_config_with
from tests.training.tiny_run import tiny_config

QUIET = Console(quiet=True)


@pytest.mark.parametrize("head", ["yolact", "fcis", "centermask_point", "centermask_point_by_class", "sag", "condinst"])
def test_a_mask_head_trains_resumes_evaluates_and_predicts(
    head: str, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(shapes_root, tmp_path / "whole", max_steps=3)
    config.model = tiny_model_config_with(head)
    config.trainer.val_every = 0
    whole = train(config, console=QUIET)

    config.trainer = replace(config.trainer, output=str(tmp_path / "stopped"))
    original = TrainingModule.training_step

    def stopping_step(self: TrainingModule, batch, batch_idx):  # type: ignore[no-untyped-def]
        if self.global_step == 1:
            signal.raise_signal(signal.SIGTERM)
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", stopping_step)
        with pytest.raises(TrainingStopped):
            train(config, console=QUIET)
    resumed = train(config, resume=tmp_path / "stopped", console=QUIET)
    left, right = (load_file(run / "last.safetensors") for run in (whole, resumed))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)

    predictor = Predictor(load_model(resumed), "cpu", "fp32")
    assert predictor.engine.model.config.masks == config.model.masks
    annotations = PanopticAnnotations.load(shapes_root / config.data.val_annotations)
    metrics = evaluate(predictor, annotations, shapes_root / config.data.val_images, tmp_path / "val", QUIET)
    assert math.isfinite(json.loads(metrics.read_text())["PQ"])
    image = shapes_root / config.data.val_images / annotations[0].file_name
    assert predictor(image).id_map.shape == (annotations[0].height, annotations[0].width)
