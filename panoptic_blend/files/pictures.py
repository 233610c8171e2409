"""Pictures as models read them: so many bands, as deep as the file has them.

What is gray, has transparency or a palette becomes RGB for a model of three bands. For any other number, a picture has
just these bands: nothing is made up, and nothing dropped.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from panoptic_blend.errors import DatasetError
from panoptic_blend.files import tiff
from panoptic_blend.files.deep_png import is_deep_png, read_deep_png
from panoptic_blend.files.images import Bands, read_channels, too_large

RGB = 3


def read_picture(path: Path | str, bands: int = RGB) -> Bands:
    """Decode an image file with as many bands as a model reads.

    Args:
        path: a file that Pillow reads, a PNG of 16 bits, or a TIFF of any number of bands.
        bands: of the model; for 3, see `read_rgb`.

    Returns:
        [H, W, bands] of uint8, or of uint16 where the file has more than 8 bits.

    Raises:
        DatasetError: the file has another number of bands, is missing, no image, damaged, or so large that decoding it
            might exhaust memory; or reading it takes tifffile, which is not installed.
    """
    path = Path(path)
    rows = tiff.open_tiff(path, bands)
    return _read_colors(path, rows) if bands == RGB else _read_bands(path, rows, bands)


def _read_bands(path: Path, rows: tiff.RowsOfTiff | None, bands: int) -> Bands:
    if rows is not None:
        return _decode(rows, bands)
    if tiff.is_tiff(path):
        raise DatasetError(
            f"{path}: its bands cannot be read. Run `pip install 'panoptic-blend[large]'` if tifffile is missing, or "
            "write it with upright strips or tiles of 8 or 16 bits."
        )
    found = read_deep_png(path, turned=True) if is_deep_png(path) else read_channels(path)
    _check_bands(path, found.shape[2], bands)
    return found


def _read_colors(path: Path, rows: tiff.RowsOfTiff | None) -> Bands:
    with suppress(DatasetError):  # Pillow may read 8 bits of it, and else tells what is wrong
        if rows is not None and rows.dtype == np.uint16:
            return _decode(rows, RGB)
        if is_deep_png(path):
            return _as_colors(read_deep_png(path, turned=True))
    try:
        return _as_colors(read_channels(path))
    except DatasetError:
        if rows is None:
            raise
        return _decode(rows, RGB)  # Pillow knows few of those with many bands


def _as_colors(found: Bands) -> Bands:
    colors = found[..., :RGB] if found.shape[2] >= RGB else np.repeat(found[..., :1], RGB, axis=2)
    return np.ascontiguousarray(colors)


def open_picture(path: Path | str, bands: int = RGB) -> Bands:
    """An image file as `read_picture` reads it; of a large TIFF a `RowsOfTiff`, which is sliced as an array is.

    That takes strips or tiles of gray or colour samples of 8 or 16 bits, as large TIFFs have, and tifffile; other files
    are decoded whole.

    Raises:
        DatasetError: as `read_picture`.
    """
    path = Path(path)
    rows = tiff.open_tiff(path, bands)
    if rows is None or rows.shape[0] * rows.shape[1] < tiff.LARGE:
        return read_picture(path, bands)
    _check_bands(path, rows.bands, bands)
    return cast(Bands, rows)


def _decode(rows: tiff.RowsOfTiff, bands: int) -> Bands:
    _check_bands(rows.path, rows.bands, bands)
    height, width, _ = rows.shape
    if Image.MAX_IMAGE_PIXELS is not None and height * width > 2 * Image.MAX_IMAGE_PIXELS:  # where Pillow stops, too
        raise too_large(rows.path, f"{width} x {height} pixels")
    return rows.decode()


def _check_bands(path: Path, found: int, bands: int) -> None:
    if bands not in (RGB, found):
        raise DatasetError(
            f"{path}: has {count_bands(found)}, but the model reads {bands} (model.input.channels). Give pictures like "
            "those that it was trained on."
        )


def count_bands(number: int) -> str:
    """'1 band', '4 bands'."""
    return f"{number} band{'' if number == 1 else 's'}"
