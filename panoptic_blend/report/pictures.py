"""The pictures of a page: an image, and its map as a layer to lay over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import read_rgb
from panoptic_blend.inference.visualize import borders, segment_colors
from panoptic_blend.structures import IdMap, Segment

LONGEST_EDGE = 640
"""Pixels of a picture on a page."""


def write_picture(image: Path, target: Path) -> bool:
    """Write an image as a JPEG file for a page; False when it cannot be read."""
    try:
        picture = Image.fromarray(read_rgb(image))
    except DatasetError:
        return False
    picture.thumbnail((LONGEST_EDGE, LONGEST_EDGE), Image.Resampling.BILINEAR)
    picture.save(target, format="JPEG", quality=85)
    return True


def write_map(path: Path, target: Path, segments: Sequence[Segment], categories: Categories) -> bool:
    """Write an id map as `draw_map` draws it; False when it cannot be read."""
    try:
        id_map = read_id_map(path)
    except DatasetError:
        return False
    draw_map(id_map, segments, categories).save(target, format="PNG")
    return True


def draw_map(id_map: IdMap, segments: Sequence[Segment], categories: Categories) -> Image.Image:
    """Segments in their colours with light borders, at most `LONGEST_EDGE` long; void is transparent.

    Args:
        id_map: int32 [H, W]; ids that no segment lists count as void.
        segments: what the ids mean.
        categories: their colours.
    """
    step = max(id_map.shape) / LONGEST_EDGE
    if step > 1:
        rows, columns = (np.arange(max(1, int(length / step))) * step for length in id_map.shape)
        id_map = id_map[rows.astype(int)][:, columns.astype(int)]
    ids, positions = contiguous_labels(id_map)
    colors = segment_colors(segments, categories)
    palette = np.array([(*colors[i], 255) if i in colors else (0, 0, 0, 0) for i in ids.tolist()], np.uint8)
    painted = palette[positions]
    painted[borders(positions) & (painted[..., 3] > 0)] = (255, 255, 255, 255)
    return Image.fromarray(painted, mode="RGBA")
