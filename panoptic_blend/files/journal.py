"""A journal: what was done so far, a line of JSON each, that outlives a process which is killed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from panoptic_blend.files.room import written_as


class Journal:
    """Appends rows to a file of JSON lines, and reads them back by their position.

    What a crash or a power failure tore is cut off when the file is opened: the first line that is not whole, and all
    that follows it.

    Args:
        path: the file; it is made when it is missing.
        see: is shown every row that is there already, with its position: read once, for finding what is torn as well.
    """

    def __init__(self, path: Path, see: Callable[[int, Any], None] = lambda position, row: None):
        self.path = path
        self._file = open(path, "a+b")  # noqa: SIM115  # closed by `close`
        self._reader = open(path, "rb")  # noqa: SIM115  # its place in the file is not that of who appends
        self._reading = threading.Lock()
        try:
            end = 0
            for position, line, row in self._lines():
                end = position + len(line)
                see(position, row)
            if end < os.fstat(self._file.fileno()).st_size:
                self._file.truncate(end)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Every row with its position."""
        return ((position, row) for position, _, row in self._lines())

    def append(self, row: object) -> int:
        """Add a row, which is with the operating system when this returns; its position."""
        position = self._file.seek(0, os.SEEK_END)
        with written_as(self.path):
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()
        return position

    def read(self, position: int) -> Any:
        """The row at a position; any thread may ask."""
        with self._reading:
            self._reader.seek(position)
            line = self._reader.readline()
        return json.loads(line)

    def clear(self) -> None:
        """Forget every row."""
        self._file.truncate(0)
        self._reader.close()  # which may hold some of them
        self._reader = open(self.path, "rb")  # noqa: SIM115

    def close(self) -> None:
        """Nothing can be added or read any more."""
        try:
            with written_as(self.path):
                self._file.close()  # tries once more to write what there was no room for
        finally:
            self._reader.close()

    def _lines(self) -> Iterator[tuple[int, bytes, Any]]:
        position = 0
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:
                    return
                if not line.endswith(b"\n"):
                    return
                yield position, line, row
                position += len(line)
