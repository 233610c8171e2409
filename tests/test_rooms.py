"""The rooms of the package are those that CONTRIBUTING.md lists, and their imports point upwards in that list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "panoptic_blend"
OUTSIDE = {"__init__", "__main__", "_version"}
"""The public names, the entry, and a number: no rooms."""


def _rooms() -> list[list[str]]:
    """Names of rooms and files, a list for each line of CONTRIBUTING.md."""
    lines = re.findall(r"^      (\S.*)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [re.findall(r"(\w+)(?:\.py|/)(?!\w)", line) for line in lines]


def _imports(file: Path) -> set[str]:
    """Rooms that a file imports from, at its top or inside functions."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    return {node.module.split(".")[1] for node in nodes if (node.module or "").startswith("panoptic_blend.")}


def test_every_room_is_listed_once():
    listed = [name for line in _rooms() for name in line]
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert sorted(listed) == sorted(there - OUTSIDE)


def test_imports_point_upwards():
    order = {name: place for place, line in enumerate(_rooms()) for name in line}
    wrong = [
        f"{file.relative_to(ROOT)} imports from {room}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for own in [file.relative_to(PACKAGE).parts[0].removesuffix(".py")]
        for room in _imports(file) - OUTSIDE
        if own not in OUTSIDE and order[room] > order[own]
    ]
    assert not wrong
