"""An ablation on disk: named variants, each written as what it changes in a common base configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic_blend.config import Config
from panoptic_blend.config_files import find_config, read_config, read_yaml
from panoptic_blend.errors import ConfigError

_KEYS = ("title", "base", "variants")


@dataclass(frozen=True)
class Ablation:
    """What is compared in one table.

    Attributes:
        name: of the file; results are named after it.
        title: what the table asks.
        variants: complete settings by the variant's name, in the file's order.
    """

    name: str
    title: str
    variants: dict[str, Config]


def read_ablation(file: Path | str, base: Path | str | None = None, overrides: Sequence[str] = ()) -> Ablation:
    """Read an ablation file.

        title: Number of bases
        base: shapes/r18.yaml
        variants:
          one: {model: {bases: {num_bases: 1}}}
          four: {model: {bases: {num_bases: 4}}}

    Args:
        file: as above, or the name of one that comes with the package, such as `ablations/bases.yaml`.
        base: configuration to use instead of the file's `base`.
        overrides: settings for every variant, as on the command line; they win over the file's.

    Raises:
        ConfigError: the file or a variant in it cannot be read or is not valid.
    """
    path = find_config(file)
    content = read_yaml(path)
    if not isinstance(content, dict) or not set(content) <= set(_KEYS) or not isinstance(content.get("variants"), dict):
        raise ConfigError(
            f"{path}: is not an ablation. Write 'title', 'base' and 'variants'; each variant has a name and the "
            "settings it changes, such as 'variants: {one: {model: {bases: {num_bases: 1}}}}'."
        )
    base = base or content.get("base")
    if not base or not isinstance(base, (str, Path)):
        raise ConfigError(f"{path}: has no 'base', the configuration its variants change. Write one, or give --base.")
    variants = {}
    for name, changes in content["variants"].items():
        if not isinstance(changes, dict | None):
            raise ConfigError(f"{path}: variant {name!r} holds no settings; write {{}} for the base itself.")
        try:
            variants[str(name)] = read_config([base], [*_as_overrides(changes or {}), *overrides])
        except ConfigError as error:
            raise ConfigError(f"{path}: variant {name!r}: {error}") from error
    if not variants:
        raise ConfigError(f"{path}: has no variants.")
    return Ablation(path.stem, str(content.get("title") or path.stem), variants)


def _as_overrides(changes: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in changes.items():
        if isinstance(value, dict):
            yield from _as_overrides(value, f"{prefix}{name}.")
        else:
            yield f"--{prefix}{name}={value if isinstance(value, str) else json.dumps(value, default=str)}"
