"""The pictures of a page: an image, and its map as a layer to lay over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.coco.counting import Int64s, contiguous_labels
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import read_rgb
from panoptic_blend.inference.visualize import borders, segment_colors
from panoptic_blend.structures import IdMap, Segment

LONGEST_EDGE = 640
"""Pixels of a picture on a page."""
_CLEAR, _BORDER = (0, 0, 0, 0), (255, 255, 255, 255)


def write_picture(image: Path, target: Path, longest_edge: int = LONGEST_EDGE, quality: int = 75) -> bool:
    """Write an image as a WebP file for a page; False when it cannot be read."""
    try:
        picture = Image.fromarray(read_rgb(image))
    except DatasetError:
        return False
    picture.thumbnail((longest_edge, longest_edge), Image.Resampling.BILINEAR)
    picture.save(target, format="WEBP", quality=quality, method=2)
    return True


def write_map(path: Path, target: Path, segments: Sequence[Segment], categories: Categories) -> bool:
    """Write an id map as `draw_map` draws it; False when it cannot be read."""
    try:
        id_map = read_id_map(path)
    except DatasetError:
        return False
    save_map(draw_map(id_map, segments, categories), target)
    return True


def save_map(image: Image.Image, target: Path | BinaryIO) -> None:
    """Write what `draw_map` or `draw_places` drew, without loss, as WebP: two thirds of a PNG file."""
    image.save(target, format="WEBP", lossless=True, quality=30, method=1)


def draw_map(
    id_map: IdMap, segments: Sequence[Segment], categories: Categories, longest_edge: int = LONGEST_EDGE
) -> Image.Image:
    """Segments in their colours with light borders; void is transparent.

    Args:
        id_map: int32 [H, W]; ids that no segment lists count as void.
        segments: what the ids mean.
        categories: their colours.
        longest_edge: pixels of the picture.
    """
    rows, columns = sampled(id_map.shape, longest_edge)
    ids, positions = contiguous_labels(np.ascontiguousarray(id_map[rows][:, columns]))
    colors = segment_colors(segments, categories)
    palette = [(*colors[i], 255) if i in colors else _CLEAR for i in ids.tolist()]
    clear = np.array([color == _CLEAR for color in palette], bool)[positions]
    return draw_places(np.where(borders(positions) & ~clear, len(palette), positions), [*palette, _BORDER])


def draw_places(places: npt.NDArray[np.integer], palette: Sequence[tuple[int, int, int, int]]) -> Image.Image:
    """An RGBA picture whose pixels are places [H, W] in a list of colours."""
    return Image.fromarray(np.array(palette, np.uint8)[places], mode="RGBA")


def sampled(size: tuple[int, ...], longest_edge: int) -> tuple[Int64s, Int64s]:
    """Which rows and columns of a map [H, W] are drawn, so that its picture is at most so long."""
    step = max(1.0, max(size) / longest_edge)
    rows, columns = ((np.arange(max(1, int(length / step))) * step).astype(np.int64) for length in size)
    return rows, columns
