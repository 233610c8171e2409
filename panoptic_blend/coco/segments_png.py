"""Id maps as PNG files of 8-bit colours: id = R + 256 G + 65536 B (COCO panoptic format)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.on_disk import strips
from panoptic_blend.structures import IdMap

MAX_ID = 256**3 - 1
"""Largest id three bytes can hold."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND\xaeB`\x82"
_HEADER_BYTES = 29
"""Up to the last field of the first chunk: width and height from byte 16, depth, colours, ..., interlacing."""
_COLOR_TYPES = {0: "grayscale", 2: "RGB", 3: "palette", 4: "grayscale with alpha", 6: "RGBA"}
_RGB, _PALETTE, _RGBA = 2, 3, 6
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises for files that are not whole PNGs."""


def rgb_to_ids(rgb: npt.NDArray[np.uint8]) -> IdMap:
    """uint8 [H, W, 3] -> int32 [H, W]; a fourth channel, alpha, is not read."""
    rgb = np.ascontiguousarray(rgb)
    height, width, channels = rgb.shape
    ids = np.empty(height * width, np.int32)
    # Each pixel's bytes and those after them, read as one number; after the last pixel of three bytes there are none.
    whole = max(0, len(ids) - 1)
    np.bitwise_and(np.ndarray(whole, "<i4", rgb, strides=(channels,)), 0xFFFFFF, out=ids[:whole])
    if len(ids):
        red, green, blue = rgb[-1, -1, :3].tolist()
        ids[-1] = red | green << 8 | blue << 16
    return ids.reshape(height, width)


def check_ids(ids: npt.NDArray[np.integer], where: str) -> None:
    """Raise `DatasetError` for ids outside 0..256^3-1.

    Args:
        where: what the message starts with: the file or the image.
    """
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise DatasetError(
            f"{where}: segment ids run from {ids.min()} to {ids.max()}, but a PNG holds 0..{MAX_ID}. Number the "
            "segments of each image from 1."
        )


def ids_to_rgb(id_map: IdMap, where: str = "id map") -> npt.NDArray[np.uint8]:
    """Integer [H, W] -> uint8 [H, W, 3].

    Raises:
        DatasetError: what `check_ids` raises.
    """
    check_ids(id_map, where)
    return np.stack([id_map & 255, (id_map >> 8) & 255, id_map >> 16], axis=-1).astype(np.uint8)


def swap_channels(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The ids that a PNG would hold with red and blue exchanged."""
    return ((ids & 255) << 16) | (ids & 0xFF00) | (ids >> 16)


def read_id_map(path: Path) -> IdMap:
    """Read one id map as int32 [H, W].

    The colours are the ids, whether the PNG stores them as RGB, as RGBA (alpha is not read) or in a palette.
    kornia-rs, where it can be installed, decodes RGB several times faster than Pillow.

    Raises:
        DatasetError: the file is missing, damaged, too large to decode safely, gray, or deeper than 8 bits.
    """
    try:
        with open(path, "rb") as file:
            header = _read_header(file, path)
            data = header + file.read()
        rgb = _decode_fast(data)
        if rgb is None:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGBA"))
        return rgb_to_ids(rgb)
    except FileNotFoundError:
        raise _missing(path) from None
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    except _DAMAGED as error:
        raise DatasetError(f"{path}: cannot be read as a PNG ({error}). Write the file again.") from error


def read_png_size(path: Path) -> tuple[int, int]:
    """Height and width of an id map, of which no more than the first bytes are read.

    Raises:
        DatasetError: the file is missing, or not a PNG of 8-bit colours.
    """
    try:
        with open(path, "rb") as file:
            return _size(_read_header(file, path))
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error}).") from error


def check_decodable(path: Path, size: tuple[int, int]) -> None:
    """Raise `DatasetError` for an id map that `read_id_map` would refuse for its (height, width)."""
    pixels = size[0] * size[1]
    if Image.MAX_IMAGE_PIXELS is not None and pixels > 2 * Image.MAX_IMAGE_PIXELS:
        raise _too_large(path, f"{pixels} pixels")


def write_id_map(path: Path, id_map: IdMap) -> None:
    """Write one id map; the file appears whole or not at all, missing folders are made.

    The map is compressed strip by strip, so that it may be larger than memory (see `files.on_disk`).

    Raises:
        DatasetError: an id outside 0..256^3-1, or a map without pixels.
    """
    if not id_map.size:
        raise DatasetError(f"{path}: an id map of {id_map.shape[1]} x {id_map.shape[0]} pixels is none.")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        height, width = id_map.shape
        file.write(_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)))
        compression = zlib.compressobj(6)
        above = np.zeros(3 * width, np.uint8)
        for rows in strips(id_map):
            filtered, above = _filter_up(ids_to_rgb(id_map[rows], str(path)).reshape(-1, 3 * width), above)
            compressed = compression.compress(filtered)
            if compressed:
                file.write(_chunk(b"IDAT", compressed))
        file.write(_chunk(b"IDAT", compression.flush()) + _chunk(b"IEND", b""))


def _filter_up(rows: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8]) -> tuple[bytes, npt.NDArray[np.uint8]]:
    """Rows as differences from those above, mostly 0 (PNG specification, 9.2, filter type 2); and the last row."""
    filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    np.subtract(rows[:1], above, out=filtered[:1, 1:])
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered.tobytes(), rows[-1]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _too_large(path: Path, how_large: str) -> DatasetError:
    return DatasetError(
        f"{path}: too large to decode safely ({how_large}). Allow more by --max-pixels, or cut image and id "
        "map into smaller ones, or scale both down, the id map without mixing colours (nearest neighbour)."
    )


def _missing(path: Path) -> DatasetError:
    return DatasetError(f"{path}: no such file. Give the folder that holds the id-map PNGs.")


def _size(header: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", header[16:24])
    return height, width


def _read_header(file: BinaryIO, path: Path) -> bytes:
    """The first bytes of a file; `DatasetError` when they are not those of a PNG of 8-bit colours."""
    header = file.read(_HEADER_BYTES)
    # Pillow silently reduces 16-bit RGB to 8 bits, so the depth is read from the file itself.
    if len(header) < _HEADER_BYTES or header[:8] != _SIGNATURE:
        raise DatasetError(f"{path}: not a PNG file. Id maps are 8-bit RGB PNGs (id = R + 256 G + 65536 B).")
    depth, color_type = header[24], header[25]
    # The colours of a palette have 8 bits, however many its indices have.
    if color_type != _PALETTE and not (depth == 8 and color_type in (_RGB, _RGBA)):
        found = f"{depth}-bit {_COLOR_TYPES.get(color_type, f'colour type {color_type}')}"
        raise DatasetError(
            f"{path}: is {found}. Id maps are 8-bit RGB (id = R + 256 G + 65536 B); save it in that mode."
        )
    return header


@cache
def _fast_decoder() -> Callable[[bytes, tuple[int, int], str], npt.NDArray[np.uint8]] | None:
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:
        return None
    return decode_image_png_u8


def _decode_fast(data: bytes) -> npt.NDArray[np.uint8] | None:
    """A plain RGB file as uint8 [H, W, 3]; None when Pillow must read it, or say what is wrong with it."""
    decode = _fast_decoder()
    height, width = _size(data)
    plain = data[25] == _RGB and not data[28] and data.endswith(_END)  # no interlacing, nothing cut off
    if decode is None or not plain or width * height > (Image.MAX_IMAGE_PIXELS or 0):
        return None
    try:
        return decode(data, (height, width), "rgb")
    except Exception:  # it raises no other
        return None
