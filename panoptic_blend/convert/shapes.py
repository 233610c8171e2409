"""Outlines and run lengths, as annotation tools store them, become regions."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.convert.files import DAMAGED_IMAGE
from panoptic_blend.convert.source import ImageLabels, Mask, Region, region_from_mask, region_from_polygons
from panoptic_blend.errors import DatasetError

_LONGEST_RUN = 2**31 - 1
_LONGEST_NUMBER = 7
"""Characters of a run in COCO's compressed strings: 5 bits each."""
_CORNERS = 360
"""Of the polygon that stands for an ellipse."""


def add_polygons(
    labels: ImageLabels,
    category: str,
    polygons: Sequence[Sequence[float]],
    what: str,
    is_crowd: bool = False,
    is_object: bool = True,
) -> None:
    """Add the region that some polygons outline together; what has no area is noted as lost.

    Args:
        labels: of the image.
        category: of the region.
        polygons: x and y in turns, in pixels.
        what: this is, for the note: "polygon 3 ('car')".
    """
    whole = [polygon for polygon in polygons if len(polygon) >= 6]
    for polygon in polygons:
        if len(polygon) < 6:
            labels.lost.append(f"{what}: a polygon of {len(polygon) // 2} points, which has no area")
    if whole:
        region = region_from_polygons(category, whole, labels.height, labels.width, is_crowd, is_object)
        labels.add(region, what)


def mask_from_runs(runs: Sequence[int], height: int, width: int, where: str, by_columns: bool = True) -> Mask:
    """A mask [height, width] from the lengths of its runs, in turns outside and inside, outside first.

    Args:
        where: file and place, for error messages.
        by_columns: the runs go down column by column, as COCO's; False goes row by row.

    Raises:
        DatasetError: the lengths do not add up to the size, or are no lengths.
    """
    check_area(height, width, where)
    if not all(type(run) is int and 0 <= run <= _LONGEST_RUN for run in runs):
        raise DatasetError(f"{where}: run lengths must be whole numbers from 0.")
    if sum(runs) != height * width:
        raise DatasetError(f"{where}: its runs make {sum(runs)} pixels, but the mask has {width} x {height}.")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, np.array(runs, np.int64))
    return inside.reshape(width, height).T if by_columns else inside.reshape(height, width)


def runs_of_string(text: str, where: str) -> list[int]:
    """The run lengths in COCO's compressed strings.

    A character minus 48 holds five bits, lowest first; 32 says that more follow, 16 in the last that the number is
    negative. From the fourth on, a number is the difference to the run two before.

    Raises:
        DatasetError: characters that cannot be there, or a string that is cut off.
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    is_last = (codes & 32) == 0
    if codes.size and (codes.min() < 0 or codes.max() > 63 or not is_last[-1]):
        raise DatasetError(f"{where}: the compressed run lengths are damaged or cut off.")
    starts = np.flatnonzero(np.r_[True, is_last[:-1]]) if codes.size else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, codes.size])
    if lengths.size and lengths.max() > _LONGEST_NUMBER:
        raise DatasetError(f"{where}: the compressed run lengths are damaged.")
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts) if codes.size else codes
    numbers -= np.where(codes[is_last] & 16, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return [int(number) for number in numbers]


def check_area(height: int, width: int, where: str) -> None:
    """Raise `DatasetError` for a size that no image has that can be opened."""
    if height * width > 2 * (Image.MAX_IMAGE_PIXELS or _LONGEST_RUN):
        raise DatasetError(f"{where}: a size of {width} x {height} is more than an image may have.")


def join_groups(labels: ImageLabels, groups: Sequence[Hashable | None]) -> None:
    """Make one region of all that have a group in common, in the place of the last.

    Args:
        labels: its regions are replaced.
        groups: of each region; None for a region by itself.
    """
    members: dict[Hashable, list[Region]] = {}
    for position, (region, group) in enumerate(zip(labels.regions, groups, strict=True)):
        key = ("alone", position) if group is None else ("group", group, region.category)
        earlier = members.pop(key, [])
        members[key] = [*earlier, region]
    labels.regions = [_union(regions) for regions in members.values()]


def _union(regions: Sequence[Region]) -> Region:
    if len(regions) == 1:
        return regions[0]
    top, left = min(each.top for each in regions), min(each.left for each in regions)
    bottom = max(each.top + each.mask.shape[0] for each in regions)
    right = max(each.left + each.mask.shape[1] for each in regions)
    mask: npt.NDArray[np.bool_] = np.zeros((bottom - top, right - left), bool)
    for each in regions:
        rows, columns = each.window
        mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] |= each.mask
    is_crowd = any(each.is_crowd for each in regions)
    union = region_from_mask(regions[0].category, mask, is_crowd=is_crowd, top=top, left=left)
    assert union is not None
    return union


def add_ellipse(
    labels: ImageLabels,
    category: str,
    x: float,
    y: float,
    radius_x: float,
    radius_y: float,
    what: str,
    degrees: float = 0.0,
) -> None:
    """Add an ellipse, turned clockwise on the screen; as `add_polygons`."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    turn = np.deg2rad(degrees)
    across, down = radius_x * np.cos(angles), radius_y * np.sin(angles)
    points = [x + across * np.cos(turn) - down * np.sin(turn), y + across * np.sin(turn) + down * np.cos(turn)]
    add_polygons(labels, category, [np.stack(points, axis=1).ravel().tolist()], what)


def mask_of_png(content: bytes, where: str) -> Mask:
    """The mask [h, w] in a PNG: what is opaque, if it has transparency, else what is not black.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            values = np.asarray(image)
    except DAMAGED_IMAGE as error:
        raise DatasetError(f"{where}: the mask cannot be read as a PNG ({error}).") from error
    if values.ndim == 3:
        return values[..., -1] > 0 if values.shape[2] in (2, 4) else values.max(axis=2) > 0
    return values > 0


def bytes_of_base64(text: str, where: str) -> bytes:
    """What base64 holds; `DatasetError` when it is damaged."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise DatasetError(f"{where}: not valid base64 ({error}).") from error


def add_placed(labels: ImageLabels, category: str, mask: Mask, top: int, left: int, what: str) -> None:
    """Add the part inside the image of a mask whose corner lies at (top, left), or note that there is none."""
    rows = slice(max(-top, 0), max(labels.height - top, 0))
    columns = slice(max(-left, 0), max(labels.width - left, 0))
    labels.add(region_from_mask(category, mask[rows, columns], top=max(top, 0), left=max(left, 0)), what)
