"""JSON files with a list that is too long to be decoded at once."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator
from pathlib import Path

from panoptic_blend.convert.fields import field, read_text, typed
from panoptic_blend.errors import DatasetError


def read_json_rows(path: Path, key: str, what: str) -> tuple[dict[str, object], Iterator[object]]:
    """Decode a JSON object, of which a list is decoded row by row: decoded at once, it takes seven times the file.

    Args:
        key: of the list.
        what: the file should be, for error messages.

    Returns:
        The object without the list, and the rows of the list.

    Raises:
        DatasetError: the file is missing, or not JSON, or not an object with such a list.
    """
    text = read_text(path, what)
    content: dict[str, object] = {}
    starts, ends = array("q"), array("q")
    has_list = False
    reader = _Reader(text)
    try:
        if not reader.skip("{"):
            typed(json.loads(text), dict, str(path))
        more = not reader.skip("}")
        while more:
            name = reader.key()
            if name == key and reader.skip("["):
                has_list = True
                for start, end in reader.rows():
                    starts.append(start)
                    ends.append(end)
            else:
                content[name] = reader.value()
            more = reader.take(",}") == ","
        reader.end()
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not valid JSON ({error}). Export or download it again.") from error
    if not has_list:
        field(content, key, list, str(path))
    return content, (json.loads(text[start:end]) for start, end in zip(starts, ends, strict=True))


class _Reader:
    """A JSON text that is read from left to right; `ValueError` where it is none."""

    def __init__(self, text: str):
        self.text = text
        self.position = 0
        self._decode = json.JSONDecoder().raw_decode
        self._space = re.compile(r"[ \t\n\r]*")

    def value(self) -> object:
        """Any value."""
        self._pass_space()
        value, self.position = self._decode(self.text, self.position)
        return value

    def key(self) -> str:
        """The name of a field, and the colon after it."""
        self.take('"')
        self.position -= 1
        name = str(self.value())
        self.take(":")
        return name

    def take(self, characters: str) -> str:
        """The next character, which must be one of some."""
        for character in characters:
            if self.skip(character):
                return character
        raise json.JSONDecodeError(f"Expecting {' or '.join(map(repr, characters))}", self.text, self.position)

    def skip(self, character: str) -> bool:
        """Whether this is the next character; if so, it is passed."""
        self._pass_space()
        is_next = self.text.startswith(character, self.position)
        self.position += is_next
        return is_next

    def rows(self) -> Iterator[tuple[int, int]]:
        """Where the values of a list start and end, of which the bracket is passed already."""
        more = not self.skip("]")
        while more:
            self._pass_space()
            start = self.position
            self.value()
            yield start, self.position
            more = self.take(",]") == ","

    def end(self) -> None:
        """Nothing may follow."""
        self._pass_space()
        if self.position < len(self.text):
            raise json.JSONDecodeError("Extra data", self.text, self.position)

    def _pass_space(self) -> None:
        match = self._space.match(self.text, self.position)
        assert match is not None
        self.position = match.end()
