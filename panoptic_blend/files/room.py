"""A disk without room: which file could not be written, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk, of a person's share of it, and of a file system's or a process's largest file."""


@contextmanager
def written_as(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let errors of the operating system in the block name the file that a person knows.

    What refuses a write does not say of which file.

    Args:
        path: what is written.
        temporary: where it lies, or all below it, until it is whole.
    """
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename
        if name is None and error.errno in NO_ROOM:
            error.filename = str(path)
        elif temporary is not None and isinstance(name, str) and Path(name).is_relative_to(temporary):
            error.filename, error.filename2 = str(path / Path(name).relative_to(temporary)), None
        raise


def no_room(error: OSError) -> str:
    """The sentence about an error of `NO_ROOM`."""
    name = error.filename2 or error.filename or "results"
    return (
        f"{name}: cannot be written ({error.strerror}). Make room on its disk, or choose a folder on another one, and "
        "give the same command again."
    )
