"""JSON files with lists that are too long to be decoded at once: decoded, they take six times the file."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from panoptic_blend.errors import DatasetError

_BLOCK = 2**20
"""Bytes that are read at a time."""
_NUMBER_REST = 4
"""A number that is followed by as many characters goes no further: what may be cut off at a block's end is `e+`."""
_TOKEN = 16
"""Characters of the longest token that is no text."""


class LongJson:
    """A JSON object in a file, of which some lists are decoded row by row, as often as they are asked for.

    The file is read to its end first: it is JSON, and `content` is there whatever the order of the fields. A file that
    is changed later ends in an error, or in the rows of the changed file.

    Args:
        path: the file.
        lists: fields that are read row by row, where they are lists.
        what: the file should be, for error messages.

    Attributes:
        content: all other fields.

    Raises:
        DatasetError: the file is missing, or not JSON, or not an object.
    """

    def __init__(self, path: Path, lists: Collection[str], what: str = "a COCO panoptic JSON"):
        self.path = path
        self.what = what
        self.content: dict[str, object] = {}
        self._starts: dict[str, int] = {}
        with self._reader(0) as reader:
            if not reader.skip("{"):
                value = reader.value()
                reader.end()
                raise DatasetError(f"{path}: holds a {type(value).__name__}, not an object. Give {what}.")
            more = not reader.skip("}")
            while more:
                name = reader.key()
                self.content.pop(name, None)  # of fields with one name, the last counts
                self._starts.pop(name, None)
                if name in lists and reader.skip("["):
                    self._starts[name] = reader.byte
                    for _ in reader.rows():
                        pass
                else:
                    self.content[name] = reader.value()
                more = reader.take(",}") == ","
            reader.end()

    def __contains__(self, name: str) -> bool:
        """Whether there is such a field, a list or not."""
        return name in self.content or name in self._starts

    def rows(self, name: str) -> Iterator[object]:
        """Decode one of the lists.

        Raises:
            DatasetError: it is missing, or no list; or the file cannot be read any more.
        """
        if name not in self._starts:
            found = type(self.content.get(name)).__name__
            raise DatasetError(f"{self.path}: {name!r} must be a list, found {found}. Give {self.what}.")
        return self._rows(name)

    def _rows(self, name: str) -> Iterator[object]:
        with self._reader(self._starts[name]) as reader:
            yield from reader.rows()

    @contextmanager
    def _reader(self, start: int) -> Iterator[_Reader]:
        try:
            with open(self.path, "rb") as file:
                yield _Reader(file, start)
        except FileNotFoundError:
            raise DatasetError(f"{self.path}: no such file. Give the path of {self.what}.") from None
        except IsADirectoryError:
            raise DatasetError(f"{self.path}: is a folder. Give {self.what}, a file.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{self.path}: cannot be read as UTF-8 text ({error}).") from error
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{self.path}: not valid JSON ({error}). Export or download it again.") from error


class _Reader:
    """A JSON text that is read from left to right, of which memory holds a block; `ValueError` where it is none.

    Args:
        file: in UTF-8, with or without a byte order mark.
        start: byte where to begin.
    """

    def __init__(self, file: BinaryIO, start: int):
        self._file = file
        if start == 0 and file.read(3) == codecs.BOM_UTF8:
            start = 3
        file.seek(start)
        self._first_byte, self._line, self._column = start, 1, 1  # of the text
        self._text, self._position, self._has_ended = "", 0, False
        self._to_text = codecs.getincrementaldecoder("utf-8")()
        self._decode = json.JSONDecoder().raw_decode
        self._space = re.compile(r"[ \t\n\r]*")

    @property
    def byte(self) -> int:
        """Where the reader is in the file."""
        return self._first_byte + len(self._text[: self._position].encode())

    def value(self) -> object:
        """Any value."""
        self._pass_space()
        while True:
            try:
                value, end = self._decode(self._text, self._position)
            except json.JSONDecodeError as error:
                is_cut_off = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _TOKEN
                if self._has_ended or not is_cut_off:
                    raise self._fault(error.msg, error.pos) from None
            else:
                if self._has_ended or end + _NUMBER_REST <= len(self._text):
                    self._position = end
                    return value
            self._read_on()

    def key(self) -> str:
        """The name of a field, and the colon after it."""
        self.take('"')
        self._position -= 1
        name = str(self.value())
        self.take(":")
        return name

    def take(self, characters: str) -> str:
        """The next character, which must be one of some."""
        for character in characters:
            if self.skip(character):
                return character
        raise self._fault(f"Expecting {' or '.join(map(repr, characters))}", self._position)

    def skip(self, character: str) -> bool:
        """Whether this is the next character; if so, it is passed."""
        self._pass_space()
        is_next = self._text.startswith(character, self._position)
        self._position += is_next
        return is_next

    def rows(self) -> Iterator[object]:
        """The values of a list, of which the bracket is passed already."""
        more = not self.skip("]")
        while more:
            yield self.value()
            more = self.take(",]") == ","

    def end(self) -> None:
        """Nothing may follow."""
        self._pass_space()
        if self._position < len(self._text):
            raise self._fault("Extra data", self._position)

    def _pass_space(self) -> None:
        while True:
            match = self._space.match(self._text, self._position)
            assert match is not None
            self._position = match.end()
            if self._position < len(self._text) or self._has_ended:
                return
            self._read_on()

    def _read_on(self) -> None:
        """Forget what is behind, and read a block; as much as is held already, so that long values take few tries."""
        passed = self._text[: self._position]
        self._first_byte += len(passed.encode())
        self._line, self._column = self._place(self._position)
        self._text = self._text[self._position :]
        self._position = 0
        block = self._file.read(max(_BLOCK, len(self._text)))
        self._has_ended = not block
        self._text += self._to_text.decode(block, final=not block)

    def _place(self, position: int) -> tuple[int, int]:
        """Line and column of a character of the text."""
        lines = self._text.count("\n", 0, position)
        column = position - self._text.rfind("\n", 0, position) if lines else self._column + position
        return self._line + lines, column

    def _fault(self, message: str, position: int) -> ValueError:
        line, column = self._place(position)
        return ValueError(f"{message}: line {line} column {column}")
