"""Settings are called as their dataclasses lie in each other."""

from __future__ import annotations

import dataclasses

from panoptic_blend.config import Config, FPNConfig
from panoptic_blend.config.names import setting_names


def test_setting_names_are_the_leaves_of_the_dataclasses():
    def leaves(instance: object, prefix: str) -> list[str]:
        names = []
        for field in dataclasses.fields(instance):  # type: ignore[arg-type]
            value = getattr(instance, field.name)
            name = f"{prefix}{field.name}"
            names += leaves(value, f"{name}.") if dataclasses.is_dataclass(value) else [name]
        return names

    assert list(setting_names()) == leaves(Config(), "")
    assert setting_names(FPNConfig, "fpn")[:2] == ("fpn.channels", "fpn.finest_level")
