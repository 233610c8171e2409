"""PNGs of several channels with 16 bits each, of which Pillow drops the lower 8."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import turn_upright

_Bytes = npt.NDArray[np.int16]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Of colour types: RGB, gray with alpha, RGBA."""
_KINDS = {2: "rgb", 6: "rgba"}
"""Of colour types, as kornia-rs calls them."""
_MAY_TURN = frozenset((b"eXIf", b"tEXt", b"zTXt", b"iTXt"))
"""Chunks that may say how a picture is turned."""
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4


def is_deep_png(path: Path) -> bool:
    """Whether a file is a PNG of several channels with 16 bits each; False when it cannot be read."""
    try:
        with open(path, "rb") as file:
            header = file.read(26)
    except OSError:
        return False
    return len(header) == 26 and header[:8] == _SIGNATURE and header[24] == 16 and header[25] in _CHANNELS


def read_deep_png(path: Path, turned: bool = False) -> npt.NDArray[np.uint16]:
    """Decode such a file; kornia-rs, where it can be installed, does so ten times as fast.

    Args:
        path: of the file.
        turned: by its EXIF orientation.

    Returns:
        uint16 [H, W, 2 to 4].

    Raises:
        DatasetError: the file is damaged, interlaced or too large.
    """
    try:
        data = path.read_bytes()
        chunks = list(_chunks(data))
        width, height, _, color_type, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
        if chunks[-1][0] != b"IEND":
            raise ValueError("it is cut off")
        if not 0 < width * height <= 2 * (Image.MAX_IMAGE_PIXELS or width * height):  # Pillow's bound
            raise ValueError(f"{width} x {height} pixels are not decoded")
        values = _decode_fast(data, (height, width), color_type)
        if values is None:
            if interlaced:
                raise ValueError("it is interlaced")
            packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
            values = _decode(packed, height, width, _CHANNELS[color_type])
    except (OSError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read as a 16-bit PNG ({error}). Write the file again.") from error
    if turned and any(kind in _MAY_TURN for kind, _ in chunks):
        with Image.open(io.BytesIO(data)) as image:
            return turn_upright(values, image)
    return values


def _decode(packed: bytes, height: int, width: int, channels: int) -> npt.NDArray[np.uint16]:
    size = height * (1 + width * channels * 2)
    inflated = zlib.decompressobj().decompress(packed, size)
    if len(inflated) < size:
        raise ValueError("it is cut off")
    rows = np.frombuffer(inflated, np.uint8).reshape(height, -1)
    values = _unfilter(rows[:, 0], rows[:, 1:].reshape(height, width, channels * 2))
    return np.ascontiguousarray(values).view(">u2").astype(np.uint16)


@cache
def _fast_decoder() -> Callable[[bytes, tuple[int, int], str], npt.NDArray[np.uint16]] | None:
    try:
        from kornia_rs.io import decode_image_png_u16
    except ImportError:
        return None
    return decode_image_png_u16


def _decode_fast(data: bytes, size: tuple[int, int], color_type: int) -> npt.NDArray[np.uint16] | None:
    """None where it has to be read, or what is wrong with it told, without kornia-rs."""
    decode = _fast_decoder()
    if decode is None or color_type not in _KINDS:
        return None
    try:
        return decode(data, size, _KINDS[color_type])
    except Exception:  # it raises no other
        return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        check = data[position + 8 + length : position + 12 + length]
        if len(check) < 4:
            raise ValueError("it is cut off")
        if struct.unpack(">I", check)[0] != zlib.crc32(kind + body):
            raise ValueError(f"a {kind.decode('ascii', 'replace')} chunk is damaged")
        yield kind, body
        position += 12 + length


def _unfilter(filters: npt.NDArray[np.uint8], raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undo the prediction of pixels by their neighbours (PNG specification, clause 9).

    A pixel needs its left, upper and upper left neighbour, so all pixels of one diagonal are computed at once.

    Args:
        filters: [H] types.
        raw: [H, W, bytes a pixel].
    """
    height, width, _ = raw.shape
    done = np.zeros((height + 1, width + 1, raw.shape[2]), np.int16)  # with a border of zeros above and on the left
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = done[y + 1, x], done[y, x + 1], done[y, x]
        kind = filters[y][:, None]
        guess = np.select(
            [kind == _SUB, kind == _UP, kind == _AVERAGE, kind == _PAETH],
            [left, up, (left + up) >> 1, _paeth(left, up, corner)],
            np.int16(0),
        )
        done[y + 1, x + 1] = (raw[y, x] + guess) & 255
    return done[1:, 1:].astype(np.uint8)


def _paeth(left: _Bytes, up: _Bytes, corner: _Bytes) -> _Bytes:
    """Whichever of the three is nearest to left + up - corner; of equally near ones the first."""
    to_left, to_up = abs(up - corner), abs(left - corner)
    to_corner = abs(left + up - 2 * corner)
    nearest = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
