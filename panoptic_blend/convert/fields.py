"""Fields of annotation files that nobody vouches for."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import TypeVar

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import is_unicode

T = TypeVar("T")

_WORDS: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}
_LARGEST = 1e300


def read_json_file(path: Path, what: str) -> object:
    """Decode a JSON file.

    Args:
        what: the file should be, for error messages.

    Raises:
        DatasetError: the file is missing or not JSON.
    """
    text = read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not valid JSON ({error}). Export it again.") from error


def read_text(path: Path, what: str) -> str:
    """The text of a file.

    Args:
        what: the file should be, for error messages.

    Raises:
        DatasetError: the file is missing or no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file. Give {what}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text ({error}).") from error


def begins_with(path: Path, start: bytes) -> bool:
    """Whether a file is there that begins so, but for spaces."""
    try:
        with open(path, "rb") as file:
            return file.read(100).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(start)
    except OSError:
        return False


def has_words(path: Path, *words: bytes) -> bool:
    """Whether all of some words are in a file; False where there is none."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(word) >= 0 for word in words)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def typed(value: object, kind: type[T], where: str) -> T:
    """A decoded JSON value, made sure to be of a type; whole numbers are numbers, true and false are not.

    Raises:
        DatasetError: it is of another type, a number that is not finite, or text with half a character, which JSON can
            spell but no file can hold.
    """
    kinds: tuple[type, ...] = (int, float) if kind is float else (kind,)
    if not isinstance(value, kinds) or isinstance(value, bool):
        found = _WORDS.get(type(value)) if isinstance(value, (list, dict)) else f"{value!r:.80}"
        raise DatasetError(f"{where} must be {_WORDS[kind]}, found {found}.")
    if isinstance(value, (int, float)) and not abs(value) < _LARGEST:
        raise DatasetError(f"{where} must be a finite number, found {value!r:.80}.")
    if isinstance(value, str) and not is_unicode(value):
        raise DatasetError(f"{where} has half of a character: {value!r:.80}. Write it again.")
    return float(value) if kind is float else value  # type: ignore[return-value, arg-type]


def field(row: object, key: str, kind: type[T], where: str, default: T | None = None) -> T:
    """A field of a JSON object.

    Args:
        row: the object.
        kind: type of the value.
        where: the file and the row.
        default: what a field that is missing or null stands for; None refuses it.

    Raises:
        DatasetError: this is no object, or the field is missing or of another type.
    """
    value = typed(row, dict, where).get(key)
    if value is None and default is not None:
        return default
    return typed(value, kind, f"{where}: {key!r}")


def size_field(row: object, height: str, width: str, where: str) -> tuple[int, int]:
    """Height and width out of two fields of a JSON object; `DatasetError` unless both are positive."""
    found = field(row, height, int, where), field(row, width, int, where)
    if min(found) < 1:
        raise DatasetError(f"{where}: {width} and {height} must be positive, found {found[1]} x {found[0]}.")
    return found


def points_of(value: object, where: str) -> list[float]:
    """A list of [x, y] as x and y in turns; `DatasetError` when it is something else."""
    found: list[float] = []
    for position, point in enumerate(typed(value, list, where)):
        place = f"{where}[{position}]"
        if len(typed(point, list, place)) != 2:
            raise DatasetError(f"{place} must be [x, y], found {point!r:.80}.")
        found += [float(typed(each, float, place)) for each in point]
    return found
