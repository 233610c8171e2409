"""A data set without things goes the whole way, as the commands take it."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from panoptic_blend.checkpoints.native import load_model, save_model
from panoptic_blend.cli import main
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.config import Config, OptimizerConfig
from panoptic_blend.config_files import write_config
from panoptic_blend.errors import TrainingStopped
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.training.module import TrainingModule
from panoptic_blend.training.run import train
from tests.stuff_sets import relabel_as_stuff
from tests.tiny import tiny_model_config
from tests.training.tiny_run import tiny_config


@pytest.fixture(scope="module")
def root(shapes_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return relabel_as_stuff(shapes_root, tmp_path_factory.mktemp("stuff") / "data")


@pytest.fixture(scope="module")
def config(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = tiny_config(root, tmp_path_factory.mktemp("stuff_only") / "run", max_steps=4)
    config.model.merge.min_stuff_area = 0
    return config


@pytest.fixture(scope="module")
def settings(config: Config) -> Path:
    """Those of the run, as a file beside its folder."""
    path = Path(config.trainer.output).parent / "settings.yaml"
    write_config(config, path)
    return path


@pytest.fixture(scope="module")
def run(settings: Path) -> Path:
    assert main(["train", "--config", str(settings)]) == 0
    return settings.parent / "run"


def test_stopped_and_resumed_equals_uninterrupted(
    config: Config, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, trainer=replace(config.trainer, output=str(tmp_path / "run")))
    original = TrainingModule.training_step

    def stopping_step(self: TrainingModule, batch, batch_idx):  # type: ignore[no-untyped-def]
        if self.global_step == 1:
            signal.raise_signal(signal.SIGTERM)
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", stopping_step)
        with pytest.raises(TrainingStopped):
            train(config)
    train(config, resume=tmp_path / "run")
    left, right = (load_file(folder / "last.safetensors") for folder in (run, tmp_path / "run"))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_evaluate_scores_stuff_and_notes_that_there_are_no_things(run: Path, root: Path, tmp_path: Path) -> None:
    truth = root / "annotations" / "panoptic_val.json"
    arguments = ["--checkpoint", str(run), "--images", str(root / "val"), "--annotations", str(truth)]
    assert main(["evaluate", *arguments, "--output", str(tmp_path), "--overlays", "1", "--batch", "2"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["PQ_th"], metrics["mask_ap"]["AP"], metrics["mask_ap"]["per_class"]) == (0, 0, {})
    assert metrics["PQ"] == metrics["PQ_st"]
    assert metrics["semantic"]["pixel_accuracy"] > 0
    assert any("no thing is in truth or prediction" in note for note in metrics["notes"])
    assert any(note.startswith("mask AP: the truth has no object for AP") for note in metrics["notes"])
    stuff = {category.id for category in SHAPES}
    for row in json.loads((tmp_path / "predictions.json").read_text())["annotations"]:
        id_map = read_id_map(tmp_path / "predictions" / row["file_name"])
        areas = {segment["id"]: segment["area"] for segment in row["segments_info"]}
        assert areas
        assert {segment["category_id"] for segment in row["segments_info"]} <= stuff
        assert areas == {segment_id: (id_map == segment_id).sum() for segment_id in areas}
    assert len(list((tmp_path / "overlays").iterdir())) == 1


def test_predict_and_benchmark_take_the_model_and_explain_says_why_not(
    run: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--checkpoint", str(run), "--input", str(root / "val")]
    assert main(["predict", *arguments, "--output", str(tmp_path / "predicted")]) == 0
    assert len(list((tmp_path / "predicted").rglob("*.png"))) == 3
    benchmark = ["--checkpoint", str(run), "--size", "64x96", "--rounds", "1"]
    assert main(["benchmark", *benchmark, "--output", str(tmp_path / "times.json")]) == 0
    assert json.loads((tmp_path / "times.json").read_text())["detections"] == 0
    capsys.readouterr()
    assert main(["explain", *arguments, "--output", str(tmp_path / "explained")]) == 2
    assert "The model knows stuff categories only" in capsys.readouterr().err


def test_three_hundred_stuff_categories_are_trained_and_told_apart(shapes_root: Path, tmp_path: Path) -> None:
    root = relabel_as_stuff(shapes_root, tmp_path / "data", before=300 - len(SHAPES))
    config = tiny_config(root, tmp_path / "run", max_steps=12)
    config.model.merge.min_stuff_area = 0
    config.optimizer = OptimizerConfig(name="adamw", lr=0.04, warmup_steps=0)
    config.trainer.val_every, config.trainer.ema_decay = 0, 0.0
    train(config)
    truth = root / "annotations" / "panoptic_val.json"
    arguments = ["--checkpoint", str(tmp_path / "run"), "--images", str(root / "val"), "--annotations", str(truth)]
    assert main(["evaluate", *arguments, "--output", str(tmp_path / "val")]) == 0
    assert json.loads((tmp_path / "val" / "metrics.json").read_text())["semantic"]["pixel_accuracy"] > 10
    rows = json.loads((tmp_path / "val" / "predictions.json").read_text())["annotations"]
    found = {segment["category_id"] for row in rows for segment in row["segments_info"]}
    assert found & {category.id for category in SHAPES}  # whose labels are 291 to 300


def test_weights_of_a_panoptic_model_start_it(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    panoptic = build_model(tiny_model_config(), SHAPES)
    save_model(panoptic, tmp_path / "panoptic.safetensors")
    into = ["--trainer.output", str(tmp_path / "run"), "--trainer.max_steps", "1"]
    assert main(["train", "--config", str(settings), *into, "--init-from", str(tmp_path / "panoptic.safetensors")]) == 0
    unused = " ".join(capsys.readouterr().out.split()).partition("not used: ")[2]
    assert all(part in unused for part in ("mask_head.top_layer", "network.head", "network.bases"))
    assert load_model(tmp_path / "run").network.head is None


def test_compare_ranks_stuff_only_variants(settings: Path, tmp_path: Path) -> None:
    ablation = {"base": str(settings), "variants": {"narrow": {"model": {"semantic": {"channels": 8}}}}}
    (tmp_path / "width.yaml").write_text(yaml.safe_dump(ablation))
    short = ["--trainer.max_steps", "1"]
    assert main(["compare", str(tmp_path / "width.yaml"), "--output", str(tmp_path / "out"), *short]) == 0
    assert "| narrow |" in (tmp_path / "out" / "width.md").read_text()
