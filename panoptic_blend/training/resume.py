"""The state that a run is resumed from, and the settings that may change then."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from panoptic_blend.categories import Categories
from panoptic_blend.checkpoints.files import refused_call
from panoptic_blend.checkpoints.native import BEST, LAST, read_categories
from panoptic_blend.config import Config
from panoptic_blend.config.plain import plain_settings
from panoptic_blend.errors import MALFORMED, CheckpointError, ConfigError, DatasetError
from panoptic_blend.training.callbacks import STATE, STATE_KEY


@dataclass(frozen=True)
class ResumePoint:
    """A saved state.

    Attributes:
        path: the `.ckpt` file.
        step: optimiser steps taken.
        images_seen: training images consumed by all processes together.
        validated_step: step of the last validation, 0 before the first.
        without_gain: validations in a row, up to the last one, that brought no higher PQ.
        categories: in the order of the model's labels; None when nothing says them.
    """

    path: Path
    step: int
    images_seen: int
    validated_step: int
    without_gain: int
    categories: Categories | None


def find_state(resume: Path) -> Path:
    """The `.ckpt` file of a run's folder, or the one that was named.

    Raises:
        CheckpointError: there is no such file.
    """
    path = resume / STATE if resume.is_dir() else resume
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. Name a run's folder that holds {STATE}, or a .ckpt file.")
    return path


def find_begun(run: Path) -> Path | None:
    """The folder of a run that saved its state, or None: for commands that a launcher starts again after a failure."""
    return run if (run / STATE).is_file() else None


def find_resume_point(resume: Path) -> ResumePoint:
    """Read where a run stopped.

    Args:
        resume: a run's folder, or its `.ckpt` file.

    Raises:
        CheckpointError: there is no such file, or it is not the state of one of our runs.
    """
    path = find_state(resume)
    if path.is_file() and not path.stat().st_size:
        raise CheckpointError(f"{path}: is empty. Start from the run's weights: --config FILE --init-from RUN.")
    wrong = f"{path}: not the saved state of a training run, or damaged"
    try:
        # Memory-mapped: only the few numbers below are read, the weights are left to Lightning.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        ours = state["callbacks"][STATE_KEY]
        categories = _read_categories(ours, path)
        without_gain = ours.get("without_gain", 0)  # states of earlier versions do not hold it
        return ResumePoint(
            path, state["global_step"], ours["images_seen"], ours["validated_step"], without_gain, categories
        )
    except pickle.UnpicklingError as error:  # whose own text advises to load it unsafely
        asked = refused_call(error)
        reason = f"refused, because loading it would call {asked}" if asked else "torch.save did not write it"
        raise CheckpointError(f"{wrong} ({reason}). Name the {STATE} of a run.") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{wrong}: it lacks {error}. Name the {STATE} of a run.") from error
    except (OSError, DatasetError, *MALFORMED) as error:
        raise CheckpointError(f"{wrong} ({error}). Name the {STATE} of a run.") from error


def _read_categories(ours: dict[str, Any], path: Path) -> Categories | None:
    if "categories" in ours:
        return Categories.from_json(ours["categories"], path.name)
    beside = path.parent / LAST  # states of earlier versions do not hold them
    return read_categories(beside) if beside.is_file() else None


def refuse_existing_run(run: Path) -> None:
    """Never start a new run over the results of another.

    Raises:
        ConfigError: the folder holds results.
    """
    kept = [name for name in (STATE, LAST, BEST) if (run / name).exists()]
    if kept:
        raise ConfigError(
            f"trainer.output {run} already holds a run ({', '.join(kept)}). Go on with it by --resume {run}, choose "
            "another --trainer.output, or remove the folder."
        )


def changed_settings(before: Config, after: Config) -> list[str]:
    """What differs between the settings a run began with and those it is resumed with, as `name: old -> new`.

    Raises:
        ConfigError: the saved state would not fit: the network or the optimiser is another one, or weights are
            averaged (`trainer.ema_decay`) from now on or no longer.
    """
    old, new = _flatten(plain_settings(before)), _flatten(plain_settings(after))
    changes = [f"{name}: {old[name]} -> {new[name]}" for name in old if old[name] != new[name]]
    kept: tuple[str, ...] = ("model.", "optimizer.name:")
    if (before.trainer.ema_decay > 0) != (after.trainer.ema_decay > 0):
        kept += ("trainer.ema_decay:",)
    misfits = [change for change in changes if change.startswith(kept)]
    if misfits:
        raise ConfigError(
            "a resumed run keeps its network, its optimiser and whether weights are averaged, but "
            f"{'; '.join(misfits)}. Leave it, or start a new run."
        )
    return changes


def _flatten(settings: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in settings.items():
        flat.update(_flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return flat
