"""Errors of torch and of the machine end a run with a sentence: what to lower, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from panoptic_blend.config import Config, TrainerConfig
from panoptic_blend.errors import DatasetError, PanopticBlendError, ResourceError, TrainingError
from panoptic_blend.training.failures import failures_told
from panoptic_blend.training.module import TrainingModule
from panoptic_blend.training.run import train
from tests.training.tiny_run import tiny_config

QUIET = Console(quiet=True)


def out_of_gpu_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def killed_loader() -> None:
    raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")


def bad_sample() -> None:
    raise DatasetError("a.jpg: is no image.")


@pytest.mark.parametrize(
    ("cause", "kind", "sentence"),
    [
        (lambda: torch.empty(2**50), ResourceError, "memory ran out: a forward pass has 2 images"),
        (lambda: np.empty(2**50), ResourceError, "memory ran out: a forward pass has 2 images"),
        (
            out_of_gpu_memory,
            ResourceError,
            r"memory ran out.* Raise trainer\.accumulate \(now 2\).*lower trainer\.batch_size, data\.short",
        ),
        (killed_loader, ResourceError, r"a loader process was killed.*pid 7.*Lower data\.workers"),
        (
            lambda: nn.BatchNorm2d(3)(torch.ones(1, 3, 1, 1)),
            TrainingError,
            "batch norm met a single value",
        ),
        (bad_sample, DatasetError, r"a\.jpg: is no image\."),
    ],
)
def test_causes_are_told(cause: Callable[[], object], kind: type[PanopticBlendError], sentence: str) -> None:
    settings = Config(trainer=TrainerConfig(batch_size=4, accumulate=2))
    with pytest.raises(kind, match=rf"^{sentence}.* All is saved\.$"), failures_told(settings, lambda: "All is saved."):
        cause()


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("no"), KeyError("weights")])
def test_what_is_not_known_is_left_alone(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, failures_told(Config(), lambda: "All is saved."):
        raise error
    assert caught.value is error


def test_a_run_that_ran_out_of_memory_names_what_is_saved_and_goes_on(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    config = tiny_config(shapes_root, run, max_steps=3, checkpoint_every=2)
    original, passes = TrainingModule.training_step, iter(range(100))

    def training_step(self: TrainingModule, batch, batch_idx):  # type: ignore[no-untyped-def]
        return out_of_gpu_memory() if next(passes) == 4 else original(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", training_step)
        with pytest.raises(ResourceError, match=r"memory ran out") as caught:
            train(config, console=QUIET)
    assert str(caught.value).endswith(
        f" The state after step 2 is saved. Go on with: panoptic-blend train --resume {run}"
    )
    train(config, resume=run, console=QUIET)


def test_a_run_that_fails_before_it_saved_says_so(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingModule, "training_step", lambda *arguments: out_of_gpu_memory())
    with pytest.raises(ResourceError, match=r"Nothing was saved before\.$"):
        train(tiny_config(shapes_root, tmp_path), console=QUIET)
