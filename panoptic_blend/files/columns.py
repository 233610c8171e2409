"""Arrays in one file that is mapped into memory: opened at once whatever its size, and shared by all processes.

The file starts with a line that names the format, the length of its header (8 bytes, little-endian) and the header, as
JSON: what the file is about, and type, shape and place of every array. Reading it runs no code.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.files.atomic import atomic_path

Columns = Mapping[str, npt.NDArray]

_FORMAT = b"panoptic_blend columns 1\n"
_ALIGNMENT = 64
_KINDS = "biuf"
"""Truth values, integers and floats: NumPy's letters."""


def write_columns(path: Path, columns: Columns, about: Mapping[str, object]) -> None:
    """Write arrays, and what they are about as JSON can hold it; the file appears whole or not at all.

    Raises:
        OSError: the folder cannot be written to.
    """
    places, size = {}, 0
    for name, values in columns.items():
        places[name] = {"type": values.dtype.str, "shape": values.shape, "start": size}
        size = _aligned(size + values.nbytes)
    header = json.dumps({"about": about, "columns": places, "bytes": size}).encode()
    first = _aligned(len(_FORMAT) + 8 + len(header))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(_FORMAT + len(header).to_bytes(8, "little") + header)
        for name, values in columns.items():
            file.seek(first + places[name]["start"])
            np.ascontiguousarray(values).tofile(file)
        file.truncate(first + size)


def read_columns(path: Path) -> tuple[dict[str, npt.NDArray], dict[str, Any]] | None:
    """Arrays that cannot be written to, and what they are about; None when there is no whole file of this format."""
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # ValueError: an empty file
        return None
    begin = len(_FORMAT) + 8
    if mapped[: len(_FORMAT)] != _FORMAT:
        return None
    end = begin + int.from_bytes(mapped[len(_FORMAT) : begin], "little")
    try:
        header = json.loads(mapped[begin:end])
        if len(mapped) != _aligned(end) + header["bytes"]:
            return None
        columns = {name: _column(mapped, _aligned(end), place) for name, place in header["columns"].items()}
        return columns, header["about"]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _column(mapped: mmap.mmap, first: int, place: Mapping[str, Any]) -> npt.NDArray:
    dtype, shape, start = np.dtype(place["type"]), place["shape"], place["start"]
    if dtype.kind not in _KINDS or min(start, *shape) < 0:
        raise ValueError("no column of numbers")
    return np.frombuffer(mapped, dtype, math.prod(shape), first + start).reshape(shape)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
