"""Settings come back from JSON as they were, each of its type; whatever else stands there is named."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from panoptic_blend.config import Config, InputConfig, ModelConfig
from panoptic_blend.config.plain import parse_settings, plain_settings
from panoptic_blend.errors import ConfigError
from tests.test_config_files import UNUSUAL


def test_plain_settings_parse_back_equal():
    assert parse_settings(Config, plain_settings(UNUSUAL), "all") == UNUSUAL
    assert parse_settings(ModelConfig, plain_settings(UNUSUAL.model), "model") == UNUSUAL.model
    assert parse_settings(ModelConfig, {}, "model") == ModelConfig()


@pytest.mark.parametrize("values", [[1], None, {"fcoz": {}, "fpn": {"channel": 1}}, {"fpn": None}])
def test_bad_plain_settings_are_refused(values: object):
    with pytest.raises(ConfigError, match=r"^model"):
        parse_settings(ModelConfig, values, "model")


def _sections(kind: type, name: str = "") -> Iterator[tuple[str, type]]:
    """The dataclasses that hold settings, with their dotted names."""
    hints = get_type_hints(kind)
    yield from [(name, kind)] if not all(map(dataclasses.is_dataclass, hints.values())) else []
    for field, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            yield from _sections(hint, f"{name}.{field}".lstrip("."))


def _fits(value: object, hint: Any) -> bool:
    """Whether a value has a type, without subclasses: True is no int."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin is tuple and isinstance(value, tuple):
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    return type(value) is hint and (hint is not float or math.isfinite(value))


ODD = (None, "", "text", "3", True, -1, 0, 2.0, 1.5, 10**30, math.nan, math.inf, [], [None], [1, None], [True] * 2,
       [1.0, math.nan], [math.inf] * 3, [5] * 9)  # fmt: skip


@pytest.mark.parametrize(("section", "kind"), list(_sections(Config)))
def test_every_setting_has_a_value_of_its_type_or_is_named(section: str, kind: type):
    hints = get_type_hints(kind)
    for field, value in itertools.product(hints, ODD):
        if dataclasses.is_dataclass(hints[field]):
            continue
        answer, found = "", None
        try:
            found = getattr(parse_settings(kind, {field: value}, section), field)
        except ConfigError as error:
            answer = str(error)
        if answer:
            assert answer.startswith(f"{section}."), (field, value)
            assert field in answer
            assert "\n" not in answer
        else:
            assert _fits(found, hints[field]), (field, value, found)
            assert (list(found) if isinstance(found, tuple) else found) == value


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"shortest_edges": 5}, "input.shortest_edges is not a setting. Did you mean input.shortest_edge?"),
        ({"channel_order": "rgb"}, "input.channel_order is 'rgb'; it must be one of 'RGB', 'BGR'."),
        ({"pixel_std": 1}, "input.pixel_std is 1; it must be a list of float or null."),
        (
            {"pixel_std": [1, 2]},
            "model.input.pixel_std is (1.0, 2.0); it must be as many numbers as model.input.channels (3).",
        ),
        (
            {"pixel_mean": [1, 2, 3], "channels": 4},
            "model.input.pixel_mean is (1.0, 2.0, 3.0); it must be as many numbers as model.input.channels (4).",
        ),
        ({"channels": 0}, "model.input.channels is 0; it must be 1 or more."),
        ({"channels": 2, "channel_order": "BGR"}, "model.input.channel_order is 'BGR'; it must be RGB for 2 channels."),
        ({"longest_edge": True}, "input.longest_edge is True; it must be int."),
        ({"shortest_edge": 0}, "model.input.shortest_edge is 0; it must be between 1 and longest_edge (1333)."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(values: dict[str, object], sentence: str):
    with pytest.raises(ConfigError) as refused:
        parse_settings(InputConfig, values, "input")
    assert str(refused.value) == sentence
