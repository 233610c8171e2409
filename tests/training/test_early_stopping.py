"""A run ends early when validations no longer bring anything, and remembers that when it is resumed."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from rich.console import Console

from panoptic_blend.config import Config, TrainerConfig
from panoptic_blend.errors import ConfigError
from panoptic_blend.evaluation.pq_result import PQGroup, PQResult
from panoptic_blend.training.run import train
from tests.training.test_resume import assert_same_run, saved_state, signal_in_pass, stop
from tests.training.tiny_run import tiny_config


def score(monkeypatch: pytest.MonkeyPatch, qualities: Sequence[float]) -> None:
    """Let the validations of a run, one a step, have these results."""
    results = iter(qualities)

    def validate(*arguments: object) -> PQResult:
        group = PQGroup(next(results), 0.0, 0.0, 1)
        return PQResult(group, group, group, ())

    monkeypatch.setattr("panoptic_blend.training.callbacks.validate", validate)


def patient_config(data: Path, run: Path, patience: int) -> Config:
    config = tiny_config(data, run)
    config.trainer.val_every, config.trainer.patience = 1, patience
    return config


def run_and_listen(config: Config, resume: Path | None = None) -> str:
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=300, file=nowhere)
        train(config, resume, console)
    return console.export_text()


@pytest.mark.parametrize(
    ("qualities", "patience", "last_step"),
    [
        ((0.1, 0.3, 0.2, 0.3), 2, 4),  # as good is no better
        ((0.0, 0.0), 1, 2),
        ((0.1, 0.3, 0.2, 0.4, 0.3, 0.2), 2, 6),
        ((0.3, 0.2, 0.1, 0.1, 0.1, 0.1), 0, 6),
    ],
)
def test_a_run_ends_after_so_many_validations_without_a_higher_pq(
    qualities: tuple[float, ...],
    patience: int,
    last_step: int,
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score(monkeypatch, qualities)
    text = run_and_listen(patient_config(shapes_root, tmp_path / "run", patience))
    assert saved_state(tmp_path / "run")["global_step"] == last_step
    early = ", ended early after" in text
    assert early == (last_step < 6 or (patience == 2 and qualities[-2:] == (0.3, 0.2)))
    assert f"Trained {last_step} steps" in text
    assert f"best PQ {100 * max(qualities):.2f}" in text
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_resumed_run_goes_on_counting_and_an_ended_one_stays_ended(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qualities = (0.3, 0.2, 0.1)
    whole, run = tmp_path / "whole", tmp_path / "run"
    score(monkeypatch, qualities)
    train(patient_config(shapes_root, whole, 2), console=Console(quiet=True))
    score(monkeypatch, qualities)
    with monkeypatch.context() as patched:
        signal_in_pass(patched, signal.SIGTERM, 4)  # in step 3, whose validation is made up for when resumed
        stop(patient_config(shapes_root, run, 2), signal.SIGTERM)
    text = run_and_listen(patient_config(shapes_root, run, 2), run)
    assert "Trained 3 steps, ended early after 2 validations without a higher PQ; best PQ 30.00" in text
    assert_same_run(run, whole)

    before = (run / "last.ckpt").read_bytes()
    text = run_and_listen(patient_config(shapes_root, run, 2), run)
    assert f"Nothing to train: {run} ended early at step 3, after 2 validations without a higher PQ. Raise" in text
    assert (run / "last.ckpt").read_bytes() == before
    score(monkeypatch, (0.2, 0.4))  # steps 4 and 5: one more without gain, then one with
    more = patient_config(shapes_root, run, 4)
    more.trainer.max_steps = 5
    run_and_listen(more, run)
    assert saved_state(run)["global_step"] == 5
    assert saved_state(run)["ours"]["without_gain"] == 0  # type: ignore[index]


def test_states_of_earlier_versions_are_taken_up(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    config = tiny_config(shapes_root, run, max_steps=1)
    train(config, console=Console(quiet=True))
    state = torch.load(run / "last.ckpt", weights_only=True)
    del state["callbacks"]["Milestones"]["without_gain"]
    torch.save(state, run / "last.ckpt")
    score(monkeypatch, (0.9, 0.9, 0.9))
    train(patient_config(shapes_root, run, 1), run, Console(quiet=True))
    assert saved_state(run)["global_step"] == 3


def test_patience_needs_validations() -> None:
    with pytest.raises(ConfigError, match=r"^trainer\.val_every is 0; it must be positive with trainer\.patience\.$"):
        TrainerConfig(val_every=0, patience=3)
