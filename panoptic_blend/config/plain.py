"""Settings as JSON holds them in checkpoints, and back.

Files and command lines are read in `config_files`, by a library whose import and parsers take longer than all else that
an exported model needs before its first prediction.
"""

from __future__ import annotations

import dataclasses
import json
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from panoptic_blend.config.checks import require
from panoptic_blend.config.names import setting_names
from panoptic_blend.errors import ConfigError
from panoptic_blend.spelling import did_you_mean

Settings = TypeVar("Settings")


def plain_settings(settings: Any) -> dict[str, Any]:
    """A settings dataclass as what JSON and YAML can hold: dicts, lists, text, numbers, truth values and null."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def parse_settings(kind: type[Settings], values: object, section: str) -> Settings:
    """Build a settings dataclass from what `plain_settings` made of it; what is left out has its default.

    Args:
        kind: the dataclass, for instance `ModelConfig`.
        values: the decoded JSON or YAML.
        section: what error messages call it, for instance 'model'.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of bounds.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{section}: expected an object with settings, found {type(values).__name__}.")
    types = get_type_hints(kind)
    parsed = {}
    for field, value in values.items():
        name = f"{section}.{field}"
        if field not in types:
            raise ConfigError(f"{name} is not a setting.{did_you_mean(name, setting_names(kind, section))}")
        hint = types[field]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            parsed[field] = parse_settings(hint, value, name)
            continue
        require(_fits(value, hint), name, value, in_words(hint))
        parsed[field] = _made(value, hint)
    return kind(**parsed)


def _fits(value: object, hint: Any) -> bool:
    """Whether a decoded value may stand for a setting's type: true is no number, and no number is without end."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if kind in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if kind is tuple:
        return isinstance(value, list) and _length_fits(value, inner) and all(_fits(each, inner[0]) for each in value)
    if hint in (int, float):
        return type(value) in (int, hint) and abs(value) < 2**63  # type: ignore[arg-type]
    return type(value) is hint


def _length_fits(value: list[object], inner: tuple[Any, ...]) -> bool:
    return inner[-1] is Ellipsis or len(value) == len(inner)


def _made(value: Any, hint: Any) -> Any:
    """The value of a setting's type that a decoded one stands for."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return _made(value, next(each for each in inner if _fits(value, each)))
    if kind is tuple:
        return tuple(_made(each, inner[0]) for each in value)
    return float(value) if hint is float else value


def in_words(hint: Any) -> str:
    """A setting's type as people write its values."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if kind in (Union, UnionType):
        return " or ".join(in_words(each) for each in inner)
    if kind is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"a list of {count}{in_words(inner[0])}"
    return {bool: "true or false", int: "int", float: "float", str: "text", NoneType: "null"}[hint]
