"""Files appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well.

    Missing folders are made. When the block raises, the temporary file is removed and an older `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A short name of its own: the final one may already be as long as the file system allows.
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
