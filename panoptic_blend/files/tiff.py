"""Reads a large TIFF a few rows at a time: it need not fit into memory."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import Pixels, read_rgb

if TYPE_CHECKING:
    from tifffile import TiffPage

LARGE = 2**24
"""Pixels from which a TIFF is read by rows."""
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LARGEST_PART = 2**26
"""Pixels of a strip or tile, beyond which a compressed one is as good as a whole picture."""
_ROWS = 256
"""That are decoded at once where every n-th row is asked for."""
_GRAY, _COLOR, _YCBCR, _JPEG = 1, 2, 6, 7
"""Values of the tags PhotometricInterpretation and Compression."""
_ORIENTATION = 274
_DAMAGED = (OSError, ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, struct.error)
"""What tifffile and imagecodecs raise on damaged files, beside what they name."""


class RowsOfTiff:
    """The picture of a TIFF as `read_rgb` would return it, decoded as it is sliced.

    Rows that follow each other are decoded once: those of the last slice are kept.

    Args:
        path: of the file.
        page: its first page.

    Attributes:
        shape: (height, width, 3).
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, page: TiffPage):
        self.path = path
        self.shape = (page.imagelength, page.imagewidth, 3)
        self._page = page
        self._first = 0
        self._rows = np.zeros((0, page.imagewidth, 3), np.uint8)

    @property
    def size(self) -> int:
        """Number of samples."""
        return self.shape[0] * self.shape[1] * 3

    def __getitem__(self, index: tuple[slice, slice]) -> Pixels:
        """The rows and columns of two slices, uint8 [h, w, 3]."""
        rows, columns = index
        start, stop, step = rows.indices(self.shape[0])
        stop = max(start, stop)
        if step == 1:
            return self._decode(start, stop)[:, columns]
        steps = max(1, _ROWS // step) * step
        if start == stop:
            return self._rows[:0, columns]
        parts = [self._decode(top, min(top + steps, stop))[::step, columns] for top in range(start, stop, steps)]
        return np.concatenate(parts)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The whole picture."""
        return self._decode(0, self.shape[0]).astype(dtype or self.dtype, copy=False)

    def _decode(self, start: int, stop: int) -> Pixels:
        end = self._first + len(self._rows)
        if start < self._first or start > end:
            self._first, self._rows, end = start, self._rows[:0], start
        if stop > end:
            try:
                more = _to_rgb(_read_rows(self.path, self._page, end, stop))
            except _DAMAGED as error:
                raise DatasetError(f"{self.path}: cannot be decoded ({error}). Replace or remove it.") from error
            self._rows = np.concatenate([self._rows[start - self._first :], more])
            self._first = start
        return self._rows[start - self._first : stop - self._first]


def open_picture(path: Path | str) -> Pixels:
    """An image file as `read_rgb` reads it; of a large TIFF a `RowsOfTiff`, which is sliced as an array is.

    That takes strips or tiles of gray or colour samples of 8 or 16 bits, as large TIFFs have, and tifffile; other files
    are decoded whole.

    Raises:
        DatasetError: as `read_rgb`.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            is_tiff = file.read(4) in _MAGIC
    except OSError:
        is_tiff = False
    rows = _open_rows(path) if is_tiff else None
    return read_rgb(path) if rows is None else cast(Pixels, rows)


def _open_rows(path: Path) -> RowsOfTiff | None:
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            page.decode  # noqa: B018  # made while the file is open
            has_rows = page.imagelength * page.imagewidth >= LARGE and _is_understood(page)
    except (*_DAMAGED, tifffile.TiffFileError):
        return None  # Pillow says what is wrong
    return RowsOfTiff(path, page) if has_rows else None


def _is_understood(page: TiffPage) -> bool:
    kinds = (_GRAY, _COLOR, _YCBCR) if page.compression == _JPEG else (_GRAY, _COLOR)
    length, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    return (
        (page.is_contiguous or length * width <= _LARGEST_PART)
        and page.photometric in kinds
        and page.dtype is not None
        and page.dtype.kind == "u"
        and page.bitspersample in (8, 16)
        and page.imagedepth == 1
        and page.tags.valueof(_ORIENTATION, 1) == 1
        and (page.photometric == _GRAY or page.samplesperpixel >= 3)
    )


def _to_rgb(samples: npt.NDArray[np.unsignedinteger]) -> Pixels:
    """Of 16 bits the upper 8, as `read_rgb`."""
    colors = samples[..., :3] if samples.shape[2] >= 3 else np.repeat(samples[..., :1], 3, axis=2)
    return (colors >> 8 if colors.itemsize == 2 else colors).astype(np.uint8)


def _read_rows(path: Path, page: TiffPage, start: int, stop: int) -> npt.NDArray[np.unsignedinteger]:
    """Rows of a page, [stop - start, W, C] of the file's samples."""
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    of_plane = page.samplesperpixel // planes
    assert page.dtype is not None
    rows = np.zeros((stop - start, page.imagewidth, page.samplesperpixel), page.dtype)
    with open(path, "rb") as file:
        if page.is_contiguous:  # and not compressed, even if that is one strip
            kind = page.dtype.newbyteorder(page.parent.byteorder)
            row = page.imagewidth * of_plane
            for plane in range(planes):
                first = (plane * page.imagelength + start) * row * kind.itemsize
                file.seek(page.dataoffsets[0] + first)
                read = np.fromfile(file, kind, (stop - start) * row)
                rows[..., plane * of_plane : (plane + 1) * of_plane] = read.reshape(stop - start, -1, of_plane)
            return rows
        length = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        width = page.tilewidth if page.is_tiled else page.imagewidth
        down, across = -(-page.imagelength // length), -(-page.imagewidth // width)
        for plane, y, x in itertools.product(range(planes), range(start // length, -(-stop // length)), range(across)):
            number = (plane * down + y) * across + x
            file.seek(page.dataoffsets[number])
            data = file.read(page.databytecounts[number])
            segment = page.decode(data or None, number, jpegtables=page.jpegtables)[0]
            if segment is None:  # an empty one: nothing is painted there
                continue
            top, left = y * length, x * width
            here = slice(max(start, top), min(stop, top + length))
            columns = slice(left, min(page.imagewidth, left + width))
            channels = slice(plane * of_plane, (plane + 1) * of_plane)
            part = segment[0, here.start - top : here.stop - top, : columns.stop - left]
            rows[here.start - start : here.stop - start, columns, channels] = part
    return rows
