from __future__ import annotations

import itertools
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.convert.files import read_channels, read_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.deep_png import is_deep_png, read_deep_png

COLOR_TYPES = {2: 4, 3: 2, 4: 6}


def write_deep_png(path: Path, values: np.ndarray, filters: list[int] | None = None, exif: bytes = b"") -> None:
    """A PNG of uint16 [H, W, C], each row filtered as told: none, sub, up, average or Paeth."""
    height, width, channels = values.shape
    pixels = values.astype(">u2").reshape(height, width, channels).view(np.uint8).reshape(height, width, -1).tolist()
    size, lines = channels * 2, []
    for y in range(height):
        kind = filters[y % len(filters)] if filters else 0
        line = [kind]
        for x, byte in itertools.product(range(width), range(size)):
            left = pixels[y][x - 1][byte] if x else 0
            up = pixels[y - 1][x][byte] if y else 0
            corner = pixels[y - 1][x - 1][byte] if x and y else 0
            target = left + up - corner
            paeth = min((left, up, corner), key=lambda value: abs(target - value))
            line.append((pixels[y][x][byte] - (0, left, up, (left + up) // 2, paeth)[kind]) % 256)
        lines.append(bytes(line))
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"eXIf", exif), (b"IEND", b"")]
    for name, body in chunks if exif else [chunk for chunk in chunks if chunk[0] != b"eXIf"]:
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 4), min_size=1, max_size=5), st.sampled_from([2, 3, 4]))
def test_every_bit_is_read(seed: int, filters: list[int], channels: int):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 65536, (*generator.integers(1, 9, 2), channels)).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        write_deep_png(path, values, filters)
        assert is_deep_png(path)
        assert np.array_equal(read_deep_png(path), values)
        assert np.array_equal(read_channels(path), values)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda data: data[:60], "it is cut off"),
        (lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], "a IDAT chunk is damaged"),
    ],
)
def test_damaged_files_are_named(break_it, said: str, tmp_path: Path):
    path = tmp_path / "a.png"
    write_deep_png(path, np.ones((4, 5, 3), np.uint16))
    path.write_bytes(break_it(path.read_bytes()))
    with pytest.raises(DatasetError, match=rf"a\.png: cannot be read as a 16-bit PNG \({said}\)"):
        read_deep_png(path)


def test_colours_of_label_maps_have_8_bits(tmp_path: Path):
    write_deep_png(tmp_path / "a.png", np.full((2, 3, 3), 300, np.uint16))
    with pytest.raises(DatasetError, match=r"a\.png: has 16 bits a channel"):
        read_map(tmp_path / "a.png")
