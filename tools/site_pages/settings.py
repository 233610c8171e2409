"""The reference of settings: the dataclasses' docstrings, defaults and bounds as tables."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml
from docstring_parser import parse

from panoptic_blend.config import Config

INTRODUCTION = """\
# Settings

Every setting has a dotted name. It is written into a YAML file as a tree,

```yaml
trainer:
  max_steps: 2000
  output: runs/short
```

or on the command line as `--trainer.max_steps 2000`, which wins over files. `panoptic-blend train --help` says the same
as this page. A trained model keeps its settings in its checkpoint; sizes and thresholds among them can be changed where
it predicts (`panoptic-blend predict --help`)."""


def settings_page() -> str:
    """Markdown of all settings, a table for each section."""
    return "\n\n".join([INTRODUCTION, *_sections(Config, "")]) + "\n"


def _sections(kind: type[Any], name: str) -> list[str]:
    """Heading, purpose and table of a section, then of those inside it."""
    parts: list[str] = []
    fields = dataclasses.fields(kind)
    inner = [field for field in fields if dataclasses.is_dataclass(field.default_factory)]
    own = [field for field in fields if field not in inner]
    if own:
        parts += [f"## {name}", _prose(kind), _table(kind, name, own)]
    for field in inner:
        assert isinstance(field.default_factory, type)
        parts += _sections(field.default_factory, f"{name}.{field.name}".lstrip("."))
    return parts


def _prose(kind: type[Any]) -> str:
    description = parse(inspect.getdoc(kind) or "").description
    return _plain(description or "")


def _table(kind: type[Any], section: str, fields: list[dataclasses.Field[Any]]) -> str:
    meanings = {each.arg_name: each.description or "" for each in parse(inspect.getdoc(kind) or "").params}
    types, bounds = get_type_hints(kind), _bounds(kind)
    rows = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for field in fields:
        values = _values(types[field.name])
        bound = bounds.get(f"{section}.{field.name}")
        values += f"; {bound}" if bound else ""
        cells = [f"`{field.name}`", f"`{_as_yaml(field.default)}`", values, _plain(meanings[field.name])]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _values(kind: Any) -> str:
    """A type in words of the settings."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{_as_yaml(value)}`" for value in get_args(kind))
    if kind in _WORDS:
        return _WORDS[kind]
    inner = [each for each in get_args(kind) if each is not Ellipsis]
    if type(None) in inner:
        return f"{_values(next(each for each in inner if each is not type(None)))}, or `null`"
    assert get_origin(kind) is tuple, f"{kind} has no words here"
    if Ellipsis in get_args(kind):
        return f"list of {_WORDS[inner[0]]}s"
    return f"list of {len(inner)} {_WORDS[inner[0]]}s"


_WORDS: dict[Any, str] = {int: "whole number", float: "number", bool: "`true`, `false`", str: "text"}


def _bounds(kind: type[Any]) -> dict[str, str]:
    """Setting -> what its `require` says it must be, where that is the same for every value of the others."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "require"]
    found = {}
    for call in calls:
        _, setting, _, expected = call.args
        if isinstance(setting, ast.Constant) and isinstance(expected, ast.Constant):
            found[str(setting.value)] = str(expected.value)
    return found


def _as_yaml(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()


def _plain(text: str) -> str:
    """One line, in which a table's sign is no border."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
