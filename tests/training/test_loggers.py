"""Figures and pictures go to every logger that is named, and no logger that fails costs a run."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import Logger
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from panoptic_blend.config.plain import plain_settings
from panoptic_blend.config_files import read_config
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.training.loggers import RunLoggers
from panoptic_blend.training.run import train
from tests.training.recorder import Recorder
from tests.training.test_resume import assert_same
from tests.training.tiny_run import tiny_config

QUIET = Console(quiet=True)
RECORDER = "tests.training.recorder.Recorder"


def train_with(loggers: tuple[str, ...], data: Path, run: Path) -> str:
    config = tiny_config(data, run)
    config.trainer.loggers = loggers
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=300, file=nowhere)
        train(config, console=console)
    return console.export_text()


def rows(run: Path) -> list[tuple[int, dict[str, float]]]:
    with (run / "csv" / "version_0" / "metrics.csv").open(newline="") as file:
        read = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
    return [(int(row.pop("step")), row) for row in read]


def test_every_logger_gets_the_figures_and_the_same_scenes(shapes_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_with(("tensorboard", RECORDER), shapes_root, run)
    recorder = Recorder.last
    assert recorder.figures == rows(run)
    qualities = [f"{name}{group}" for group in ("", "_th", "_st") for name in ("PQ", "SQ", "RQ")]
    assert [step for step, figures in recorder.figures if list(figures) == qualities] == [3, 6]
    assert [step for step, figures in recorder.figures if "lr" in figures] == [2, 4, 6]
    assert [(step, key) for step, key, _ in recorder.pictures] == [
        (step, f"scene_{number}") for step in (3, 6) for number in (1, 2, 3)
    ]  # all three validation images
    truths = [np.asarray(picture)[:, picture.width // 2 + 4 :] for _, _, picture in recorder.pictures]
    for first, second in zip(truths[:3], truths[3:], strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(truths[0], truths[1])
    assert recorder.folder == run
    assert recorder.settings == plain_settings(read_config(run / "config.yaml"))
    assert recorder.ends == ["success"]
    written = EventAccumulator(str(run / "tensorboard"))
    written.Reload()
    assert set(written.Tags()["scalars"]) == {name for _, figures in recorder.figures for name in figures}
    assert [event.step for event in written.Scalars("SQ_th")] == [3, 6]
    assert [event.step for event in written.Images("scene_3")] == [3, 6]
    assert written.Images("scene_3")[0].width == recorder.pictures[2][2].width


def test_a_logger_that_fails_is_told_once_and_changes_nothing(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "fails_at", 3)
    text = train_with((RECORDER,), shapes_root, tmp_path / "failing")
    assert text.count(f"{RECORDER} failed (OSError: the server is gone): training goes on without it.") == 1
    assert text.count("failed") == 1
    assert [step for step, _ in Recorder.last.figures] == [2]
    assert not Recorder.last.pictures
    assert not (tmp_path / "failing" / "tensorboard").exists()
    train_with(("tensorboard",), shapes_root, tmp_path / "other")
    for name in ("last.safetensors", "best.safetensors"):
        assert_same(load_file(tmp_path / "failing" / name), load_file(tmp_path / "other" / name))
    assert [step for step, _ in rows(tmp_path / "failing")] == [step for step, _ in rows(tmp_path / "other")]


def test_a_logger_hears_of_a_run_that_failed() -> None:
    with (
        pytest.raises(DatasetError),
        RunLoggers({"recorder": lambda: Recorder("here")}, QUIET).running({}),
    ):
        raise DatasetError("an image is gone")
    assert Recorder.last.ends == ["failed"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wandb", r"wandb cannot be imported \(.*\)\. Install it \(pip install wandb\), or leave wandb out\."),
        ("mlflow", r"mlflow cannot be imported \(.*\)\. Install it \(pip install mlflow\), or leave mlflow out\."),
        (
            "weights",
            r"'weights' is none of tensorboard, wandb, mlflow, and no import path of a Lightning logger such as",
        ),
        ("no_such.package.Logger", r"no_such\.package cannot be imported \(ModuleNotFoundError: No module named 'no_"),
        ("pathlib.Path", r"pathlib\.Path is not a Lightning logger\. Name a class that derives from"),
        ("lightning.pytorch.loggers.Absent", r"lightning\.pytorch\.loggers\.Absent is not a Lightning logger\."),
    ],
)
def test_a_logger_that_is_not_there_is_told_before_data_are_read(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    config = tiny_config(tmp_path / "no data", tmp_path / "run")
    config.trainer.loggers = (name,)
    with pytest.raises(ConfigError, match=rf"^trainer\.loggers: {message}"):
        train(config, console=QUIET)


def test_a_logger_that_cannot_be_opened_ends_the_run_before_it_begins(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "opens", False)
    with pytest.raises(ConfigError) as refused:
        train_with((RECORDER,), shapes_root, tmp_path / "run")
    assert str(refused.value) == (
        f"trainer.loggers: {RECORDER} cannot be opened (KeyError: 'no\\nkey'). Set it up, or leave it out."
    )
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_lightning_s_own_loggers_are_named_by_their_path(tmp_path: Path) -> None:
    from panoptic_blend.training.loggers import make_loggers

    made = make_loggers(["lightning.pytorch.loggers.CSVLogger"], tmp_path)
    logger = made["lightning.pytorch.loggers.CSVLogger"]()
    assert isinstance(logger, Logger)
    assert logger.save_dir == str(tmp_path)


def test_loggers_are_a_list_on_the_command_line_and_in_files(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("trainer:\n  loggers: [wandb, tensorboard]\n")
    assert read_config(tmp_path / "run.yaml").trainer.loggers == ("wandb", "tensorboard")
    assert read_config([], ["--trainer.loggers", "[mlflow]"]).trainer.loggers == ("mlflow",)
