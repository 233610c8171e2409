"""What settings are called, and which of them a prediction can change."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, get_type_hints

from panoptic_blend.config.prediction import PREDICTION_SETTINGS
from panoptic_blend.config.training import Config
from panoptic_blend.errors import ConfigError


def setting_names(kind: type[Any] = Config, section: str = "") -> tuple[str, ...]:
    """Every setting of a dataclass by its dotted name, such as `trainer.max_steps`.

    Args:
        kind: by default every setting there is.
        section: what the names start with, for instance 'model'.
    """
    return tuple(setting_types(kind, section))


def setting_types(kind: type[Any] = Config, section: str = "") -> dict[str, Any]:
    """{dotted name: type hint} of every setting of a dataclass; see `setting_names`."""
    types: dict[str, Any] = {}
    for field, hint in get_type_hints(kind).items():
        name = f"{section}.{field}" if section else field
        is_group = isinstance(hint, type) and dataclasses.is_dataclass(hint)
        types |= setting_types(hint, name) if is_group else {name: hint}
    return types


def check_prediction_settings(overrides: Sequence[str]) -> None:
    """Raise `ConfigError` for the first override of a setting that a trained model cannot change any more."""
    names = set(setting_names()) - set(PREDICTION_SETTINGS)
    for word in overrides:
        name = word.split("=", 1)[0].removeprefix("--")
        if word.startswith("--") and name in names:
            raise ConfigError(
                f"--{name} belongs to training: a trained model cannot change it any more. A prediction can change "
                f"{', '.join(f'--{each}' for each in PREDICTION_SETTINGS)}."
            )
