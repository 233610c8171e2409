"""Settings as YAML with a comment above each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from panoptic_blend.config_files import dump_yaml
from panoptic_blend.suggestion.settings import Setting

WIDTH = 100


def as_yaml(heading: str, settings: Sequence[Setting]) -> str:
    """Nested sections in the order of the settings, those of one section in a row.

    Args:
        heading: comment at the top.
        settings: by dotted names.
    """
    lines = _comment(heading, "")
    above: list[str] = []
    for setting in settings:
        *sections, key = setting.name.split(".")
        same = 0
        while same < min(len(sections), len(above)) and sections[same] == above[same]:
            same += 1
        lines += [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections) if depth >= same]
        above = sections
        indent = "  " * len(sections)
        lines += _comment(setting.why, indent) if setting.why else []
        lines.append(f"{indent}{key}: {as_flow(setting.value)}")
    return "\n".join(lines) + "\n"


def as_flow(value: object) -> str:
    """A value on one line, as a file or the command line takes it."""
    return dump_yaml(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _comment(text: str, indent: str) -> list[str]:
    indent = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
