"""Labelled regions of one image become an id map, in which no two overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import ndimage

from panoptic_blend.categories import Category
from panoptic_blend.coco.segments_png import MAX_ID
from panoptic_blend.coco.truth import TrueSegment
from panoptic_blend.convert.names import VOID_NAMES
from panoptic_blend.convert.source import ImageLabels, Region
from panoptic_blend.errors import DatasetError
from panoptic_blend.structures import IdMap

Overlap = Literal["smaller", "order", "error"]

_EIGHT_NEIGHBOURS = np.ones((3, 3), int)


@dataclass
class Painted:
    """One image of the result.

    Attributes:
        id_map: int32 [H, W]; ids count from 1 in the order of the categories, then of the regions.
        segments: what its ids mean.
        lost: a phrase for each region that is not in it.
        overlaps: regions that another one hides in part.
    """

    id_map: IdMap
    segments: dict[int, TrueSegment]
    lost: list[str] = field(default_factory=list)
    overlaps: int = 0


def paint(
    labels: ImageLabels,
    categories: Mapping[str, Category],
    overlap: Overlap = "smaller",
    min_area: int = 1,
) -> Painted:
    """Paint the regions of one image.

    Objects of things become a segment each, connected parts (of 8 neighbours) of a thing's pixels in a label map too;
    all pixels of a stuff category are one segment. Label maps lie behind outlined objects.

    Args:
        labels: of the image.
        categories: by the name a region calls them; regions of other names are dropped, but for those that are void by
            their name (`ignore`, `__ignore__`...), which hide what lies behind them.
        overlap: where outlined objects overlap, the "smaller" or the later one ("order") stays in front, or it is an
            "error".
        min_area: connected parts of fewer pixels become void.

    Raises:
        DatasetError: objects overlap and `overlap` is "error", or there are more segments than a PNG has ids.
    """
    wanted = [each for each in labels.regions if each.category in categories or each.category.casefold() in VOID_NAMES]
    if labels.rest and labels.rest in categories:
        wanted.insert(0, _rest(labels))
    painted = Painted(np.zeros((labels.height, labels.width), np.int32), {}, list(labels.lost))
    owner = np.zeros_like(painted.id_map)  # 1 + position in `wanted` of who is in front
    hidden: set[int] = set()
    for position in _back_to_front(wanted, overlap):
        region = wanted[position]
        window = owner[region.window]
        covered = set(np.unique(window[region.mask]).tolist()) - {0}
        covered = {each for each in covered if _are_told_apart(region, wanted[each - 1], categories)}
        if covered and overlap == "error":
            other = wanted[min(covered) - 1]
            raise DatasetError(
                f"{other.category!r} and {region.category!r} overlap, near row {region.top}, column {region.left}. "
                "Redraw one of them, or choose --overlap smaller or order."
            )
        hidden |= covered
        window[region.mask] = position + 1
    painted.overlaps = len(hidden)
    _number(owner, wanted, categories, min_area, painted)
    if len(painted.segments) > MAX_ID:
        raise DatasetError(
            f"has {len(painted.segments)} segments, but a PNG holds {MAX_ID} ids. Cut the image into smaller ones, or "
            "leave small parts out by --min-area."
        )
    return painted


def _are_told_apart(front: Region, back: Region, categories: Mapping[str, Category]) -> bool:
    """Whether two regions are objects of the result, so that one must not hide the other unseen."""
    return all(each.is_object and each.category in categories for each in (front, back))


def _rest(labels: ImageLabels) -> Region:
    free = np.ones((labels.height, labels.width), bool)
    for region in labels.regions:
        free[region.window] &= ~region.mask
    return Region(labels.rest, 0, 0, free, is_object=False)


def _back_to_front(regions: list[Region], overlap: Overlap) -> list[int]:
    def depth(position: int) -> tuple[bool, int, int]:
        region = regions[position]
        size = -region.area if overlap == "smaller" and region.is_object else 0
        return region.is_object, size, position

    return sorted(range(len(regions)), key=depth)


def _number(
    owner: IdMap, regions: list[Region], categories: Mapping[str, Category], min_area: int, painted: Painted
) -> None:
    """Give ids to what is seen of every region."""
    order = {name: position for position, name in enumerate(categories)}
    boxes = dict(enumerate(ndimage.find_objects(owner, max_label=len(regions)), start=1))
    stuff_ids: dict[int, int] = {}
    gone: Counter[str] = Counter()
    numbered = [position for position, region in enumerate(regions) if region.category in order]
    for position in sorted(numbered, key=lambda each: (order[regions[each].category], each)):
        region, box = regions[position], boxes[position + 1]
        category = categories[region.category]
        if box is None:
            if region.is_object or region.area:
                gone[region.category] += 1
            continue
        seen = owner[box] == position + 1
        if not category.is_thing:
            segment_id = stuff_ids.setdefault(category.id, len(painted.segments) + 1)
            painted.segments.setdefault(segment_id, TrueSegment(category.id))
            painted.id_map[box][seen] = segment_id
            continue
        for part in [seen] if region.is_object else _parts(seen, min_area, region.category, painted):
            segment_id = len(painted.segments) + 1
            painted.segments[segment_id] = TrueSegment(category.id, region.is_crowd)
            painted.id_map[box][part] = segment_id
    painted.lost += [f"{count} {name!r} hidden behind others" for name, count in gone.items()]


def _parts(seen: np.ndarray, min_area: int, name: str, painted: Painted) -> list[np.ndarray]:
    numbered, count = ndimage.label(seen, _EIGHT_NEIGHBOURS)
    areas = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
    small = int((areas < min_area).sum())
    if small:
        painted.lost.append(f"{small} parts of {name!r} below {min_area} pixels")
    return [numbered == part for part in range(1, count + 1) if areas[part - 1] >= min_area]
