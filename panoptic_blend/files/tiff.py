"""Reads a TIFF of any number of bands a few rows at a time: it need not fit into memory."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.errors import DatasetError

if TYPE_CHECKING:
    from tifffile import TiffPage

LARGE = 2**24
"""Pixels from which a TIFF is read by rows."""
_Samples = npt.NDArray[np.unsignedinteger]
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
    """The picture of a TIFF, decoded as it is sliced.

    Rows that follow each other are decoded once: those of the last slice are kept.

    Args:
        path: of the file.
        page: its first page.
        channels: of the file, how many to give, from the first on; more of gray alone repeat it.

    Attributes:
        shape: (height, width, channels).
        dtype: uint8 or uint16, as in the file.
        bands: how many the file has.
    """

    def __init__(self, path: Path, page: TiffPage, channels: int):
        assert page.dtype is not None
        self.path = path
        self.shape = (page.imagelength, page.imagewidth, channels)
        self.dtype = np.dtype(f"uint{page.bitspersample}")
        self.bands = page.samplesperpixel
        self._page = page
        self._first = 0
        self._rows: _Samples = np.zeros((0, page.imagewidth, channels), self.dtype)

    @property
    def size(self) -> int:
        """Number of samples."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def __getitem__(self, index: tuple[slice, slice]) -> _Samples:
        """The rows and columns of two slices, [h, w, channels]."""
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

    def decode(self) -> _Samples:
        """The whole picture, [H, W, channels].

        Raises:
            DatasetError: it is damaged.
        """
        return self._decode(0, self.shape[0])

    def _decode(self, start: int, stop: int) -> _Samples:
        end = self._first + len(self._rows)
        if start < self._first or start > end:
            self._first, self._rows, end = start, self._rows[:0], start
        if stop > end:
            try:
                more = self._choose(_read_rows(self.path, self._page, end, stop))
            except _DAMAGED as error:
                raise DatasetError(f"{self.path}: cannot be decoded ({error}). Replace or remove it.") from error
            self._rows = np.concatenate([self._rows[start - self._first :], more])
            self._first = start
        return self._rows[start - self._first : stop - self._first]

    def _choose(self, samples: _Samples) -> _Samples:
        channels = self.shape[2]
        found = samples if samples.shape[2] >= channels else np.repeat(samples[..., :1], channels, axis=2)
        return found[..., :channels].astype(self.dtype, copy=False)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does; False when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(4) in _MAGIC
    except OSError:
        return False


def open_tiff(path: Path, channels: int = 3) -> RowsOfTiff | None:
    """A TIFF with strips or tiles of upright samples of 8 or 16 bits, of which nothing is decoded yet.

    Args:
        channels: see `RowsOfTiff`.

    Returns:
        None for other files, damaged ones, and where tifffile is not installed: Pillow may read them, or say what is
        wrong.
    """
    if not is_tiff(path):
        return None
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            page.decode  # noqa: B018  # made while the file is open
            return RowsOfTiff(path, page, channels) if _is_understood(page) else None
    except (*_DAMAGED, tifffile.TiffFileError):
        return None


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
        and page.imagelength * page.imagewidth > 0
    )


def _read_rows(path: Path, page: TiffPage, start: int, stop: int) -> _Samples:
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
            if len(data) < page.databytecounts[number]:
                raise ValueError("it is cut off")
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
