"""Pictures to look at, beside the predictions: `output/overlays/*.jpg`."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.inference.visualize import LONGEST_EDGE

OVERLAY_FOLDER = "overlays"


def overlay_path(output: Path, png: str) -> Path:
    """Where the overlay of an image lies: named after the PNG of its id map, which has its name to itself."""
    return output / OVERLAY_FOLDER / f"{png.removesuffix('.png')}.jpg"


def write_overlay(path: Path, draw: Callable[[], Image.Image]) -> None:
    """Draw an overlay and write it as a JPEG file, shrunk to what such a file can hold.

    Raises:
        DatasetError: it does not fit into memory.
    """
    encoded = BytesIO()  # Pillow would not notice a disk that is full
    try:
        image = draw()
        excess = max(image.size) / LONGEST_EDGE
        if excess > 1:
            image = image.resize((max(1, int(image.width / excess)), max(1, int(image.height / excess))))
        image.save(encoded, format="JPEG", quality=92)
    except MemoryError as error:
        raise DatasetError(f"{path}: left out, since drawing it takes more memory than there is.") from error
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(encoded.getvalue())
