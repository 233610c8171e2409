"""Reads any image file with Pillow, without torch: as RGB to look at, or every channel as it is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.tiff import open_tiff

Pixels = npt.NDArray[np.uint8]
Bands = npt.NDArray[np.unsignedinteger]
"""A picture as its file has it, [H, W, C]: values uint8, or uint16 up to 65535."""

# What Pillow's many decoders raise on files that are cut off, damaged or no images at all.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, EOFError, RuntimeError, struct.error, zlib.error)
_UNREADABLE = (*_DAMAGED, Image.DecompressionBombError)
_SIXTEEN_BITS_AS_I = ("PNG", "PPM")
"""Formats whose 16-bit gray Pillow may open in its mode for 32 bits."""
_NEVER_DRAWN = frozenset(("BUFR", "GRIB", "HDF5", "MPEG", "WMF"))
"""Formats that Pillow knows by name, but hands on to others to be decoded."""
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2
"""Tags of a TIFF, and a value of the second."""
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to make an image of each EXIF orientation upright."""


@cache
def image_extensions() -> frozenset[str]:
    """Extensions of every format that the installed Pillow decodes, in lower case: '.jpg', '.webp'..."""
    Image.init()
    drawn = (Image.OPEN.keys() | {"MPO"}) - _NEVER_DRAWN  # MPO has no entry: it is opened as a JPEG
    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in drawn)


def read_rgb(path: Path | str) -> Pixels:
    """Decode an image file, turned upright by its EXIF orientation.

    Grayscale is repeated into three channels; of samples with 12 or 16 bits the upper 8 are kept; CMYK is converted. Of
    several pages or frames the first is read. Transparency is dropped: the colours stored beneath it are kept, as
    detectron2 and OpenCV do.

    Args:
        path: a file of any format and mode that Pillow reads.

    Returns:
        uint8 [H, W, 3].

    Raises:
        DatasetError: the file is missing, no image, damaged, or so large that decoding it might exhaust memory.
    """
    path = Path(path)
    try:
        with opened(path) as image:
            return _to_upright_rgb(image)
    except _UNREADABLE as error:
        rows = open_tiff(path)  # Pillow knows few of those with many bands
        if rows is None:
            raise _unreadable(path, error) from error
        return to_colors(rows.decode())


def read_channels(path: Path | str) -> Bands:
    """Decode all channels of an image file, turned upright by its EXIF orientation.

    Returns:
        uint8 [H, W, 1 to 4]: gray or RGB, with transparency behind it if there is any; what is neither, as CMYK, comes
        as RGB. Gray of 12 or 16 bits comes as uint16 [H, W, 1], scaled to 0..65535.

    Raises:
        DatasetError: as `read_rgb`.
    """
    path = Path(path)
    try:
        with opened(path) as image:
            image.load()
            _check_samples(image)
            turn = _TURNS.get(_orientation(image))
            channels = Image.fromarray(_gray_of_16_bits(image)) if image.mode.startswith("I") else _as_stored(image)
            upright = np.array(channels if turn is None else channels.transpose(turn))
            return upright[..., None] if upright.ndim == 2 else upright
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A file as Pillow opens it, but never by its name: it then maps some TIFFs into memory, and turned ones come out
    scrambled.
    """
    with path.open("rb") as file, Image.open(file) as image:
        yield image


def to_colors(bands: Bands) -> Pixels:
    """What to look at of a picture [H, W, C]: its first three bands, or gray, in 8 bits, uint8 [H, W, 3]."""
    colors = np.asarray(bands)[..., :3] if bands.shape[2] >= 3 else np.repeat(np.asarray(bands)[..., :1], 3, axis=2)
    return (colors >> 8).astype(np.uint8) if colors.dtype == np.uint16 else colors


def image_to_rgb(image: Image.Image) -> Pixels:
    """An image opened with Pillow as `read_rgb` would return it.

    Raises:
        DatasetError: its pixels cannot be decoded.
    """
    try:
        return _to_upright_rgb(image)
    except _UNREADABLE as error:
        raise _unreadable(Path(getattr(image, "filename", "") or "image"), error) from error


def check_image(path: Path | str) -> tuple[int, int]:
    """Make sure that an image file can be decoded to its end, at less cost than `read_rgb`.

    Returns:
        (height, width) as `read_rgb` would return them.

    Raises:
        DatasetError: as `read_rgb`.
    """
    return read_thumbnail(path)[0]


def read_thumbnail(path: Path | str) -> tuple[tuple[int, int], Image.Image]:
    """Decode an image file to its end, but draw it small where that is cheaper.

    Returns:
        (height, width) as `read_rgb` would return them, and the upright image at an eighth of that (JPEG) or whole, in
        any mode.

    Raises:
        DatasetError: as `read_rgb`.
    """
    path = Path(path)
    try:
        with opened(path) as image:
            width, height = image.size
            image.draft("RGB", (width // 8 + 1, height // 8 + 1))  # JPEG: reads every byte, but draws a thumbnail
            image.load()
            _check_samples(image)
            orientation = _orientation(image)
            turn = _TURNS.get(orientation)
            upright = image.copy() if turn is None else image.transpose(turn)
    except _UNREADABLE as error:
        rows = open_tiff(path)
        if rows is None:
            raise _unreadable(path, error) from error
        upright = Image.fromarray(to_colors(rows.decode()))
        return (upright.height, upright.width), upright
    return (width, height) if orientation >= 5 else (height, width), upright


def turn_upright(values: npt.NDArray[np.uint16], image: Image.Image) -> npt.NDArray[np.uint16]:
    """An image's samples [H, W, C], decoded by other means, turned as its EXIF orientation says."""
    turned = {
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.swapaxes(0, 1),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(values),
    }
    return np.ascontiguousarray(turned.get(_orientation(image), values))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1, upright, when there is none or the EXIF block is damaged.

    To be asked of decoded images: Pillow turns some formats (TIFF) upright as it decodes, and says so only afterwards.
    """
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _DAMAGED:
        return 1


def _to_upright_rgb(image: Image.Image) -> Pixels:
    image.load()
    _check_samples(image)
    turn = _TURNS.get(_orientation(image))
    rgb = _to_rgb(image)
    upright = rgb if turn is None else rgb.transpose(turn)
    return np.array(upright)


def _check_samples(image: Image.Image) -> None:
    """Raise `ValueError` for samples that no rule turns into 0..255."""
    if (
        image.mode == "F"
        or (image.mode == "I" and image.format not in _SIXTEEN_BITS_AS_I)
        or (image.mode.startswith("I;16") and image.format == "FITS")  # signed there, which Pillow does not say
        or _SIGNED in _tiff_tag(image, _SAMPLE_FORMAT)
    ):
        raise ValueError("signed samples and those of 32 bits have no agreed range; convert it to 8 or 16 bits")


def _tiff_tag(image: Image.Image, tag: int) -> tuple[int, ...]:
    return image.tag_v2.get(tag, ()) if isinstance(image, TiffImageFile) else ()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit gray, which convert("RGB") would clip at 255
        return Image.fromarray((_gray_of_16_bits(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("P", "PA"):
        return image.convert("RGBA").convert("RGB")  # Pillow's way for palettes with transparency
    return image if image.mode == "RGB" else image.convert("RGB")


def _gray_of_16_bits(image: Image.Image) -> npt.NDArray[np.uint16]:
    bits = max(_tiff_tag(image, _BITS_PER_SAMPLE), default=16)  # or 12, which Pillow does not scale
    samples = np.clip(np.array(image).astype(np.int64), 0, 2**bits - 1)
    return ((samples << (16 - bits)) | (samples >> (2 * bits - 16))).astype(np.uint16)


def _as_stored(image: Image.Image) -> Image.Image:
    """Gray or RGB, with or without transparency."""
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    kept = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGBA"}.get(image.mode, image.mode)
    kept = kept if kept in ("L", "LA", "RGB", "RGBA") else "RGB"
    return image if image.mode == kept else image.convert(kept)


def _unreadable(path: Path, error: Exception) -> DatasetError:
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"{path}: no such image. Check the images folder and the file_name in the annotations.")
    if isinstance(error, IsADirectoryError):
        return DatasetError(f"{path}: is a folder; an image file was expected.")
    if isinstance(error, PermissionError):
        return DatasetError(f"{path}: may not be read. Change its permissions.")
    if isinstance(error, UnidentifiedImageError):
        return DatasetError(f"{path}: is not an image in a format that Pillow reads. Replace or remove it.")
    if isinstance(error, Image.DecompressionBombError):
        return too_large(path, str(error))
    return DatasetError(f"{path}: cannot be decoded ({error}). Replace or remove it.")


def too_large(path: Path, how_large: str) -> DatasetError:
    """What to say of a picture with more pixels than are decoded whole."""
    return DatasetError(
        f"{path}: too large to decode safely ({how_large}). Allow more by --max-pixels of `predict` or `evaluate`, or "
        "give --tile: with `pip install 'panoptic-blend[large]'`, a TIFF is then read by rows. Or scale it down."
    )
