"""Arrays larger than memory, in temporary files that vanish with the process, however it ends."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.errors import ResourceError

LARGE = 2**27
"""Bytes from which an array goes to disk."""
_STRIP = 2**25
"""Bytes that are in memory of an array on disk, while it is gone through."""
_ZEROS = bytes(2**22)


def large_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros, in memory while they are few, else in a file without a name in the folder for temporary files.

    Raises:
        ResourceError: there is no room for them.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            # All of it, as a mapping of a file with holes ends the process when the disk is full.
            for start in range(0, size, len(_ZEROS)):
                file.write(_ZEROS[: size - start])
            file.flush()
        except OSError as error:
            raise ResourceError(
                f"{tempfile.gettempdir()}: no room for {size / 1e9:.1f} GB that a large picture takes while it is "
                f"predicted ({os.strerror(error.errno or 0)}). Let TMPDIR name a folder on a disk with more."
            ) from error
        return np.ndarray(shape, dtype, mmap.mmap(file.fileno(), size))


def strips(array: npt.NDArray[Any], rows: int | None = None) -> Iterator[slice]:
    """Go through an array from top to bottom, many rows at a time; those of one on disk leave memory again.

    Args:
        rows: how many at a time; by default so many as are worth a step.
    """
    of_row = max(1, array[:1].nbytes)
    rows = rows or max(1, _STRIP // of_row)
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))
        leave_memory(array)


def leave_memory(array: npt.NDArray[Any]) -> None:
    """Give back the memory that an array on disk takes at this moment; its values stay."""
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)
