"""Pictures as files, in memory."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def pixels(seed: int, height: int = 50, width: int = 70) -> np.ndarray:
    """Noise, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def encode(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """A file of an image."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A valid, small PNG of very many pixels, all of one gray."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row = bytes(1 + -(-width // 8))
    compressor = zlib.compressobj(9)
    data = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
