"""Lists that say what the values or colours of label maps mean."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.convert.files import color_code
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import is_unicode

VOID_NAMES = frozenset(("void", "unlabeled", "unlabelled", "ignore", "__ignore__"))
"""Names under which label maps keep pixels that nobody labelled."""


@dataclass(frozen=True)
class LabelName:
    """A category of label maps.

    Attributes:
        value: gray level or palette index; None in lists of colours.
        color: RGB; None in lists of values.
    """

    name: str
    value: int | None
    color: tuple[int, int, int] | None

    @property
    def key(self) -> int:
        """The value, or the colour as `color_code` gives it."""
        if self.value is not None:
            return self.value
        assert self.color is not None
        return color_code(self.color)

    @property
    def is_void(self) -> bool:
        """Whether its pixels are not labelled."""
        return self.name.casefold() in VOID_NAMES


def read_names(path: Path) -> list[LabelName]:
    """Read a list of names, in any of these forms.

    - text, a category a line: `value name`, `R G B name` (CamVid's label_colors.txt) or `name:R,G,B::` (labelmap.txt
      of VOC and CVAT); `#` starts a comment
    - CSV with a header that has `name` and either `value` (or `id`) or `r`, `g`, `b`
    - JSON: `{"value": "name"}`, `["name of 0", "name of 1", ...]`, or a list of objects with the columns of the CSV

    Raises:
        DatasetError: the file cannot be read or has none of these forms; a value, colour or name is there twice.
    """
    text = _read_text(path)
    if path.suffix.lower() == ".json":
        names = _from_json(text, path)
    elif path.suffix.lower() == ".csv":
        names = [_from_row(dict(row), f"{path}, row {n}") for n, row in enumerate(csv.DictReader(text.splitlines()), 1)]
    else:
        lines = [parse_line(line, f"{path}, line {n}") for n, line in enumerate(text.splitlines(), 1)]
        names = [name for name in lines if name is not None]
    if not names:
        raise DatasetError(f"{path}: names no category. Write one 'value name' a line.")
    groups: tuple[tuple[str, list[object]], ...] = (
        ("name", [each.name for each in names if not each.is_void]),
        ("value", [each.value for each in names if each.value is not None]),
        ("colour", [each.color for each in names if each.value is None]),
    )
    for what, keys in groups:
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise DatasetError(f"{path}: the {what} {twice[0]!r} is there twice. Give every category its own.")
    return names


def parse_line(line: str, where: str) -> LabelName | None:
    """The name in a line of text, None in one without; `DatasetError` for a line of another form."""
    line = line.split("#", 1)[0].strip()
    if not line:
        return None
    if match := re.fullmatch(r"([^:]+):(\d+),(\d+),(\d+):.*", line):
        name, *color = match.groups()
        return LabelName(name.strip(), None, _color(color, where))
    if match := re.fullmatch(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\D.*)", line):
        *color, name = match.groups()
        return LabelName(name.strip(), None, _color(color, where))
    if match := re.fullmatch(r"(\d+)[\s,:]+(.+)", line):
        return LabelName(match[2].strip(), int(match[1]), None)
    raise DatasetError(f"{where}: {line!r} is neither 'value name' nor 'R G B name' nor 'name:R,G,B::'.")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        DatasetError: the file cannot be read, or has no such lines.
    """
    lines = [line.strip() for line in _read_text(path).splitlines() if line.strip()]
    if not lines:
        raise DatasetError(f"{path}: is empty. Write a name a line.")
    return lines


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as a list of names ({error}).") from error


def _from_json(text: str, path: Path) -> list[LabelName]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: is not valid JSON ({error}).") from error
    if isinstance(content, dict):
        return [_from_row({"value": value, "name": name}, str(path)) for value, name in content.items()]
    if isinstance(content, list):
        return [
            _from_row(row if isinstance(row, dict) else {"value": n, "name": row}, f"{path}, entry {n + 1}")
            for n, row in enumerate(content)
        ]
    raise DatasetError(f"{path}: expected an object of names by value, or a list.")


def _from_row(row: dict[str, object], where: str) -> LabelName:
    columns = {str(key).strip().casefold(): value for key, value in row.items()}
    name = columns.get("name", columns.get("label"))
    if not isinstance(name, str) or not name.strip() or not is_unicode(name):
        raise DatasetError(f"{where}: has no 'name', or one with half of a character.")
    value = columns.get("value", columns.get("id"))
    if value is not None:
        if not re.fullmatch(r"\s*\d+\s*", str(value)):
            raise DatasetError(f"{where} ({name}): the value {value!r} is not a whole number.")
        return LabelName(name.strip(), int(str(value)), None)
    if not {"r", "g", "b"} <= columns.keys():
        raise DatasetError(f"{where} ({name}): has neither 'value' nor 'r', 'g' and 'b'.")
    return LabelName(name.strip(), None, _color([str(columns[channel]).strip() for channel in "rgb"], where))


def _color(channels: list[str], where: str) -> tuple[int, int, int]:
    if not all(re.fullmatch(r"\d+", channel) and int(channel) <= 255 for channel in channels):
        raise DatasetError(f"{where}: {', '.join(channels)} is not a colour; each of R, G and B is 0 to 255.")
    red, green, blue = map(int, channels)
    return red, green, blue
