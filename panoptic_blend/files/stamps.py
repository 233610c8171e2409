"""Tells whether files are still the ones that were read before, by their sizes and times."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_SETTLED_NS = 3_000_000_000
"""Times may be as coarse as two seconds: a file that changed just now might change once more and look the same."""


class Stamp(NamedTuple):
    """Size in bytes, and times in nanoseconds: of the content, and of anything about the file."""

    size: int
    modified: int
    changed: int

    @property
    def is_settled(self) -> bool:
        """Whether a later change would change the stamp, too."""
        return max(self.modified, self.changed) < time.time_ns() - _SETTLED_NS


def stamp(path: Path | str) -> Stamp:
    """The stamp of a file as it is now; `OSError` when there is none."""
    status = os.stat(path)
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
