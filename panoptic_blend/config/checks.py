"""The one check of every setting's bounds."""

from __future__ import annotations

from panoptic_blend.errors import ConfigError


def require(condition: bool, setting: str, value: object, expected: str) -> None:
    """Raise `ConfigError`, which names the setting, unless a condition holds."""
    if not condition:
        raise ConfigError(f"{setting} is {value!r}; it must be {expected}.")
