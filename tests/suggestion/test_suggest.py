from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.config_files import read_config
from panoptic_blend.inference.loading import load
from panoptic_blend.modeling.build import build_model
from panoptic_blend.suggestion import settings
from panoptic_blend.suggestion import suggest as suggestion
from panoptic_blend.suggestion.settings import Setting
from panoptic_blend.suggestion.suggest import DataPaths, suggest_config
from panoptic_blend.suggestion.writing import as_yaml


def test_settings_become_nested_yaml_with_their_reasons() -> None:
    settings = [
        Setting("a.b.c", [1, 2], "why " * 40),
        Setting("a.b.d", "none"),
        Setting("a.e", 0.001, "since"),
        Setting("f.g", True),
    ]
    text = as_yaml("for nobody", settings)
    assert yaml.safe_load(text) == {"a": {"b": {"c": [1, 2], "d": "none"}, "e": 0.001}, "f": {"g": True}}
    assert text.startswith("# for nobody\n")
    assert "  # since\n  e: 0.001\n" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes a second for a step, without taking any."""
    monkeypatch.setattr(suggestion, "time_steps", lambda *_: 1.0)


def paths(root: Path) -> DataPaths:
    return DataPaths.find(root / "annotations" / "panoptic_train.json", root / "train", None, None)


@pytest.mark.usefixtures("instant")
def test_steps_fill_the_budget_and_every_number_has_a_reason(shapes_root: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.yaml"
    config = suggest_config(paths(shapes_root), output, 1.0, Console(quiet=True))
    assert 3200 <= config.trainer.max_steps <= 3600
    assert config.data.val_images == "val"
    assert (Path(config.data.root) / config.data.train_annotations).is_file()
    lines = output.read_text(encoding="utf-8").splitlines()
    numbers = [(above, line) for above, line in pairwise(lines) if re.match(r" +\w+: \[?\d", line)]
    bare = [line for above, line in numbers if not above.lstrip().startswith("#")]
    assert len(numbers) > 20
    assert bare == ["  reference_batch_size: 8"]  # the line before it says why


@pytest.mark.usefixtures("instant")
def test_nearly_all_weights_come_from_the_model_of_the_package(shapes_root: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "mine.yaml"
    config = suggest_config(paths(shapes_root), output, 1.0, Console(soft_wrap=True))
    command = f"panoptic-blend train --config {output} --init-from nuclei-nano"
    assert command in capsys.readouterr().out
    assert "--init-from nuclei-nano" in output.read_text(encoding="utf-8")
    model = build_model(config.model, PanopticAnnotations.load(paths(shapes_root).annotations).categories)
    trained = load("nuclei-nano").state_dict()
    other = {name for name, value in model.state_dict().items() if trained[name].shape != value.shape}
    layers = ("head.class_logits", "stuff_predictor", "auxiliary.2")  # what predicts categories, and no more
    assert other == {f"network.{layer}.{part}" for layer in layers for part in ("weight", "bias")}


@pytest.mark.usefixtures("instant")
def test_validation_takes_no_more_than_half_of_the_time(shapes_root: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    few = suggest_config(paths(shapes_root), tmp_path / "few.yaml", 1.0, Console(soft_wrap=True))
    assert "validation images takes" not in capsys.readouterr().out
    monkeypatch.setattr(settings, "PREDICTION_SHARE", 10**5)
    many = suggest_config(paths(shapes_root), tmp_path / "many.yaml", 1.0, Console(soft_wrap=True))
    assert "validation images takes about" in capsys.readouterr().out
    assert "give fewer with --val-annotations" in " ".join(
        (tmp_path / "many.yaml").read_text(encoding="utf-8").replace("#", "").split()
    )
    assert few.trainer.max_steps / 2.2 < many.trainer.max_steps < few.trainer.max_steps


@pytest.mark.usefixtures("instant")
def test_folders_may_be_named_from_inside(shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shapes_root / "train")
    found = DataPaths.find(Path("../annotations/panoptic_train.json"), Path("."), None, None)
    assert found == paths(shapes_root)
    assert suggest_config(found, tmp_path / "mine.yaml", 1.0, Console(quiet=True)).data.val_images == "val"


def test_commands_in_comments_are_not_cut() -> None:
    text = as_yaml(f"{'word ' * 18}--init-from nuclei-nano", [])
    assert "--init-from" in text.split()
    assert "nuclei-nano" in text.split()


@pytest.mark.usefixtures("instant")
def test_without_validation_images_the_training_images_are_taken(shapes_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(shapes_root, tmp_path / "data", ignore=shutil.ignore_patterns("*val*"))
    config = suggest_config(paths(root), tmp_path / "mine.yaml", 1.0, Console(quiet=True))
    assert config.data.val_annotations == config.data.train_annotations
    assert "No validation images were found" in (tmp_path / "mine.yaml").read_text(encoding="utf-8")


def test_wrong_options_are_sentences(shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, images = str(shapes_root / "annotations" / "panoptic_train.json"), str(shapes_root / "train")
    there = tmp_path / "there.yaml"
    there.touch()
    for arguments, said in (
        ([annotations, "--images", images, "--output", str(there)], "is there already"),
        ([annotations, "--images", images, "--output", "new.yaml", "--budget-hours", "0"], "give hours"),
        ([annotations, "--images", images, "--output", "new.yaml", "--val-images", images], "belong together"),
        ([annotations, "--images", "nowhere", "--output", "new.yaml"], "nowhere: no such folder"),
    ):
        assert main(["suggest-config", *arguments]) != 0
        assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_what_is_suggested_trains_as_it_is(shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    annotations = shapes_root / "annotations" / "panoptic_train.json"
    words = [
        str(annotations),
        "--images",
        str(shapes_root / "train"),
        "--output",
        "mine.yaml",
        "--budget-hours",
        "0.01",
    ]
    assert main(["suggest-config", *words]) == 0
    assert read_config("mine.yaml").trainer.max_steps >= 10
    assert main(["train", "--config", "mine.yaml", "--init-from", "nuclei-nano", "--trainer.max_steps", "2"]) == 0
    assert (tmp_path / "runs" / "mine" / "last.safetensors").is_file()


def test_validation_images_are_never_read_with_the_truth_of_training(tmp_path: Path) -> None:
    annotations, images = tmp_path / "panoptic.json", tmp_path / "train"
    annotations.touch()
    for folder in (images, tmp_path / "val"):
        folder.mkdir()
    found = DataPaths.find(annotations, images, None, None)
    assert (found.val_annotations, found.val_images) == (annotations, images)
