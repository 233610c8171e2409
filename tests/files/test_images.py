from __future__ import annotations

import errno
import io
import struct
import zlib
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image, features

from panoptic_blend.data.images import read_image
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import check_image, read_channels, read_rgb

RGB = np.random.default_rng(0).integers(0, 256, (6, 10, 3)).astype(np.uint8)
GRAY = RGB[..., 0]


def read(path: Path) -> np.ndarray:
    """Pixels [H, W, 3] as a model takes them; also holds `check_image` to the same size."""
    image = read_image(path)
    assert image.shape[0] == 3
    assert check_image(path) == tuple(image.shape[1:])
    return image.permute(1, 2, 0).numpy()


def png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    """A PNG file, also of kinds that Pillow cannot write. `rows` without the filter bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[i * stride : (i + 1) * stride] for i in range(height)) if rows else b""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    data = zlib.compress(filtered)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["image.png", "image.bmp", "image.tif", "image.ppm"])
def test_plain_rgb(tmp_path: Path, name: str) -> None:
    Image.fromarray(RGB).save(tmp_path / name)
    assert (read(tmp_path / name) == RGB).all()


def test_gray_is_repeated(tmp_path: Path) -> None:
    Image.fromarray(GRAY).save(tmp_path / "gray.png")
    assert (read(tmp_path / "gray.png") == GRAY[..., None]).all()


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(GRAY > 127).save(tmp_path / "bits.png")
    assert (read(tmp_path / "bits.png") == 255 * (GRAY > 127)[..., None]).all()


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 256, 2))])
def test_palette_with_and_without_transparency(tmp_path: Path, transparency: int | bytes | None) -> None:
    indices = GRAY % 128
    palette = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "palette.png", **({} if transparency is None else {"transparency": transparency}))
    assert (read(tmp_path / "palette.png") == palette[indices]).all()


def test_alpha_is_dropped_and_the_colour_beneath_kept(tmp_path: Path) -> None:
    alpha = np.arange(60, dtype=np.uint8).reshape(6, 10, 1)
    Image.fromarray(np.concatenate([RGB, alpha], axis=2)).save(tmp_path / "rgba.png")
    assert (read(tmp_path / "rgba.png") == RGB).all()
    Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(alpha[..., 0])]).save(tmp_path / "la.png")
    assert (read(tmp_path / "la.png") == GRAY[..., None]).all()


def test_cmyk(tmp_path: Path) -> None:
    inks = np.zeros((6, 10, 4), dtype=np.uint8)
    inks[..., 0] = 255  # cyan: no red
    Image.fromarray(inks, mode="CMYK").save(tmp_path / "cyan.jpg", quality=100)
    assert np.abs(read(tmp_path / "cyan.jpg").astype(int) - (0, 255, 255)).max() <= 3


def assert_deep(path: Path, expected: np.ndarray) -> None:
    """Of 16 bits, a person sees the upper 8, and a model all of them, scaled so that 65535 is as 255."""
    assert (read_rgb(path) == expected >> 8).all(), path
    np.testing.assert_allclose(read(path), expected / 257, rtol=1e-6)


def test_sixteen_bit_gray(tmp_path: Path) -> None:
    deep = np.random.default_rng(2).integers(0, 65536, (6, 10)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    big_endian = io.BytesIO(b"P5 10 6 65535\n" + deep.astype(">u2").tobytes())
    (tmp_path / "deep.pgm").write_bytes(big_endian.getvalue())
    for name in ("deep.png", "deep.tif", "deep.pgm"):
        assert_deep(tmp_path / name, np.repeat(deep[..., None], 3, axis=2))


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bit_colour(tmp_path: Path, color_type: int, channels: int) -> None:
    deep = np.random.default_rng(3).integers(0, 65536, (6, 10, channels)).astype(">u2")
    (tmp_path / "deep.png").write_bytes(png(10, 6, 16, color_type, deep.tobytes()))
    assert_deep(tmp_path / "deep.png", deep[..., :3] if channels > 2 else np.repeat(deep[..., :1], 3, axis=2))


def tiff(width: int, height: int, bits: int, sample_format: int, samples: bytes) -> bytes:
    """A gray TIFF of kinds that Pillow cannot write."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(samples),
            339: sample_format}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    padded = samples + b"\0" * (len(samples) % 2)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + directory


def test_twelve_bit_gray(tmp_path: Path) -> None:
    deep = np.random.default_rng(5).integers(0, 4096, (6, 10))
    digits = "".join(f"{sample:03x}" for sample in deep.flat)
    (tmp_path / "deep.tif").write_bytes(tiff(10, 6, 12, 1, bytes.fromhex(digits)))
    assert (read_rgb(tmp_path / "deep.tif") == (deep >> 4)[..., None]).all()
    np.testing.assert_allclose(
        read(tmp_path / "deep.tif"), np.repeat(deep[..., None], 3, axis=2) * 255 / 4095, atol=1 / 257
    )


def fits(samples: np.ndarray) -> bytes:
    """An astronomer's image; its samples are signed."""
    cards = {"SIMPLE": "T", "BITPIX": 8 * samples.itemsize, "NAXIS": 2, "NAXIS1": samples.shape[1],
             "NAXIS2": samples.shape[0]}  # fmt: skip
    header = "".join(f"{name:<8}= {value:>20}".ljust(80) for name, value in cards.items()) + "END"
    data = samples.astype(samples.dtype.newbyteorder(">")).tobytes()
    return header.ljust(2880).encode() + data.ljust(2880, b"\0")


def test_signed_samples_are_refused(tmp_path: Path) -> None:
    (tmp_path / "signed8.tif").write_bytes(tiff(2, 2, 8, 2, bytes([251, 0, 5, 127])))
    (tmp_path / "signed16.tif").write_bytes(tiff(2, 2, 16, 2, np.array([-5, 0, 5, 127], "<i2").tobytes()))
    (tmp_path / "signed16.fits").write_bytes(fits(np.array([[-5, 0], [5, 127]], np.int16)))
    for path in sorted(tmp_path.iterdir()):
        for reader in (read_image, check_image):
            with pytest.raises(DatasetError, match=rf"{path.name}: cannot be decoded \(signed samples"):
                reader(path)
    (tmp_path / "plain.fits").write_bytes(fits(GRAY))
    assert (read(tmp_path / "plain.fits") == GRAY[::-1, :, None]).all()  # the first row is the lowest


# How a camera held in each of the eight ways stores the upright picture.
STORED = {
    1: RGB,
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.transpose(1, 0, 2),
    6: np.rot90(RGB),
    7: RGB[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(RGB, -1),
}


@pytest.mark.parametrize("name", ["camera.png", "camera.tif", "camera.webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    stored.save(tmp_path / name, exif=exif, **({"lossless": True} if name.endswith("webp") else {}))
    assert (read(tmp_path / name) == RGB).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_tiff_is_turned_whatever_it_holds(tmp_path: Path, orientation: int, mode: str, compression: str) -> None:
    """Pillow maps those that are not compressed into memory, when it opens them by name."""
    path, turns = tmp_path / "camera.tif", {3: 2, 6: 1, 8: -1}[orientation]
    kind, most, channels = (np.uint16, 65536, ()) if mode == "I;16" else (np.uint8, 256, (4,) if len(mode) > 1 else ())
    samples = np.random.default_rng(0).integers(0, most, (5, 9, *channels)).astype(kind)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(samples).copy() if mode == "I;16" else Image.fromarray(samples, mode)
    image.save(path, exif=exif, compression=compression)
    upright = np.rot90(samples, -turns)
    expected = upright[..., None] if upright.ndim == 2 else upright
    if mode == "CMYK":
        expected = np.rot90(np.asarray(image.convert("RGB")), -turns)
    assert np.array_equal(read_channels(path), expected)
    assert read_image(path).shape[1:] == upright.shape[:2]
    assert check_image(path) == upright.shape[:2]


def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "camera.png", exif=b"Exif\0\0nothing of the kind")
    assert (read(tmp_path / "camera.png") == RGB).all()


def _truncated(path: Path) -> None:
    large = np.random.default_rng(4).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(large).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "cut.tif"])
def test_truncated_files_are_named(tmp_path: Path, name: str) -> None:
    _truncated(tmp_path / name)
    for reader in (read_image, check_image):
        with pytest.raises(DatasetError, match=rf"{name}: cannot be decoded"):
            reader(tmp_path / name)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_damage_anywhere_in_an_avif_is_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.avif"
    Image.fromarray(RGB).save(path)
    whole = path.read_bytes()
    complaints = []
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :])
        try:
            read_image(path)
        except DatasetError as error:
            complaints.append(str(error))
    assert len(complaints) > len(whole) / 10
    assert all(complaint.startswith(f"{path}: ") for complaint in complaints)


def test_a_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DatasetError, match="may not be read"):
        read_image(tmp_path / "private.png")


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.ones((2, 2), dtype=np.int32)).save(tmp_path / "wide.tif")
    # 40,000 x 40,000 pixels in a few bytes.
    (tmp_path / "bomb.png").write_bytes(png(40_000, 40_000, 8, 2, b""))
    for name, message in {
        "notes.jpg": "is not an image",
        "empty.png": "is not an image",
        "folder.png": "is a folder",
        "missing.png": "no such image",
        "float.tif": "no agreed range",
        "wide.tif": "no agreed range",
        "bomb.png": "too large to decode safely",
    }.items():
        with pytest.raises(DatasetError, match=f"{name}: .*{message}"):
            read_image(tmp_path / name)
