"""Files of a data set: images and the maps that go with them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.convert.source import SourceImage
from panoptic_blend.errors import DatasetError

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def require_folder(folder: Path) -> Path:
    """The folder itself; `DatasetError` when it is not there."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder.")
    return folder


def list_images(folder: Path) -> list[SourceImage]:
    """Every image in a folder and below, by name; hidden ones are passed over.

    Raises:
        DatasetError: there is no such folder, or no image in it.
    """
    Image.init()
    extensions = Image.registered_extensions()
    found = [
        SourceImage(path, path.relative_to(folder).as_posix())
        for path in sorted(require_folder(folder).rglob("*"))
        if path.suffix.lower() in extensions
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise DatasetError(f"{folder}: no images here.")
    return found


def match_maps(images: Path, maps: Path) -> list[tuple[SourceImage, Path]]:
    """Every image of a folder with the PNG of the same relative name, but for the ending, in another.

    Raises:
        DatasetError: a folder is missing, an image has no map or a map no image.
    """
    pairs = []
    for image in list_images(images):
        path = (require_folder(maps) / image.name).with_suffix(".png")
        if not path.is_file():
            raise DatasetError(f"{image.path}: has no label map {path}. Add it, or take the image out.")
        pairs.append((image, path))
    used = {path for _, path in pairs}
    surplus = sorted(path for path in maps.rglob("*.png") if path not in used)
    if surplus:
        raise DatasetError(f"{surplus[0]}: has no image in {images}. Add it, or take the map out.")
    return pairs


def read_map(path: Path) -> npt.NDArray[np.integer]:
    """A label map's values: [H, W] of gray levels (8 or 16 bits) or palette indices, or uint8 [H, W, 3] of colours.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            if image.mode in ("RGBA", "LA", "PA"):
                image = image.convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[image.mode])
            values = np.asarray(image)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such label map.") from None
    except _DAMAGED as error:
        raise DatasetError(f"{path}: cannot be read as a label map ({error}). Write the file again.") from error
    if values.dtype == bool:
        return values.astype(np.uint8)
    return values


def color_code(color: tuple[int, int, int]) -> int:
    """A colour as one number: R x 65536 + G x 256 + B."""
    return color[0] << 16 | color[1] << 8 | color[2]


def colors_to_codes(values: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Colours [H, W, 3] as the `color_code` of every pixel; other maps as they are."""
    if values.ndim == 2:
        return values
    red, green, blue = np.moveaxis(values.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue
