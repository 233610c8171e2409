"""Id maps as PNG files of 8-bit colours: id = R + 256 G + 65536 B (COCO panoptic format)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.structures import IdMap

MAX_ID = 256**3 - 1
"""Largest id three bytes can hold."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {0: "grayscale", 2: "RGB", 3: "palette", 4: "grayscale with alpha", 6: "RGBA"}
_RGB, _PALETTE, _RGBA = 2, 3, 6
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises for files that are not whole PNGs."""


def rgb_to_ids(rgb: npt.NDArray[np.uint8]) -> IdMap:
    """uint8 [H, W, 3] -> int32 [H, W]; a fourth channel, alpha, is not read."""
    ids = rgb[..., 2].astype(np.int32)
    ids <<= 8
    ids |= rgb[..., 1]
    ids <<= 8
    ids |= rgb[..., 0]
    return ids


def ids_to_rgb(id_map: IdMap) -> npt.NDArray[np.uint8]:
    """Integer [H, W] -> uint8 [H, W, 3].

    Raises:
        DatasetError: an id outside 0..256^3-1.
    """
    if id_map.size and (id_map.min() < 0 or id_map.max() > MAX_ID):
        raise DatasetError(f"id map: ids run from {id_map.min()} to {id_map.max()}; a PNG holds 0..{MAX_ID}.")
    return np.stack([id_map & 255, (id_map >> 8) & 255, id_map >> 16], axis=-1).astype(np.uint8)


def swap_channels(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The ids that a PNG would hold with red and blue exchanged."""
    return ((ids & 255) << 16) | (ids & 0xFF00) | (ids >> 16)


def read_id_map(path: Path) -> IdMap:
    """Read one id map as int32 [H, W].

    The colours are the ids, whether the PNG stores them as RGB, as RGBA (alpha is not read) or in a palette.

    Raises:
        DatasetError: the file is missing, damaged, too large to decode safely, gray, or deeper than 8 bits.
    """
    try:
        with open(path, "rb") as file:
            _check_header(file.read(26), path)
            file.seek(0)
            with Image.open(file, formats=["PNG"]) as image:
                return rgb_to_ids(np.asarray(image if image.mode == "RGB" else image.convert("RGBA")))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file. Give the folder that holds the id-map PNGs.") from None
    except Image.DecompressionBombError as error:
        raise DatasetError(
            f"{path}: too large to decode safely ({error}). Cut image and id map into smaller ones, or scale both "
            "down, the id map without mixing colours (nearest neighbour)."
        ) from error
    except _DAMAGED as error:
        raise DatasetError(f"{path}: cannot be read as a PNG ({error}). Write the file again.") from error


def write_id_map(path: Path, id_map: IdMap) -> None:
    """Write one id map; the file appears whole or not at all, missing folders are made.

    Raises:
        DatasetError: an id outside 0..256^3-1.
    """
    image = Image.fromarray(ids_to_rgb(id_map))
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _check_header(header: bytes, path: Path) -> None:
    # Pillow silently reduces 16-bit RGB to 8 bits, so the depth is read from the file itself.
    if len(header) < 26 or header[:8] != _SIGNATURE:
        raise DatasetError(f"{path}: not a PNG file. Id maps are 8-bit RGB PNGs (id = R + 256 G + 65536 B).")
    depth, color_type = header[24], header[25]
    # The colours of a palette have 8 bits, however many its indices have.
    if color_type != _PALETTE and not (depth == 8 and color_type in (_RGB, _RGBA)):
        found = f"{depth}-bit {_COLOR_TYPES.get(color_type, f'colour type {color_type}')}"
        raise DatasetError(
            f"{path}: is {found}. Id maps are 8-bit RGB (id = R + 256 G + 65536 B); save it in that mode."
        )
