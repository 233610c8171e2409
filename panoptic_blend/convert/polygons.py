"""The segments of an id map as the simplest polygons that give them back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from scipy import ndimage

from panoptic_blend.coco.counting import contiguous_labels, count_pairs
from panoptic_blend.convert.outlines import Points, Ring, join, outline, trace_rings
from panoptic_blend.convert.source import region_from_polygons
from panoptic_blend.structures import IdMap

MIN_IOU = 0.98
"""Of a part with what its polygon gives back."""
_TOLERANCES = (1.0, 0.5, 0.25, 0.0)
"""Pixels that outlines may be moved, from the simplest to the exact one."""


def polygons_of(
    id_map: IdMap, in_one: Collection[int], as_written: Callable[[Points], Points] = lambda points: points
) -> dict[int, list[Points]]:
    """Polygons of every segment of a map [H, W], by id: one for each connected part (of 8 neighbours).

    Holes, and the parts of segments in `in_one`, are joined by bridges without width. Filled as COCO fills polygons, a
    part has an IoU of `MIN_IOU` or more with its pixels.

    Args:
        in_one: ids of the segments that get a single polygon.
        as_written: a polygon as it is read again, after it was rounded for a file.
    """
    part_map, owners = _split_parts(id_map)
    polygons: dict[int, list[Points]] = {}
    for part, polygon in _simplest(part_map, as_written).items():
        polygons.setdefault(owners[part], []).append(polygon)
    return {each: [join(parts)] if each in in_one else parts for each, parts in polygons.items()}


def _split_parts(id_map: IdMap) -> tuple[IdMap, dict[int, int]]:
    """A map of connected parts, counted from 1, and the segment of each."""
    part_map = np.zeros_like(id_map)
    owners: dict[int, int] = {}
    ids, positions = contiguous_labels(id_map)
    for position, (segment_id, box) in enumerate(zip(ids.tolist(), ndimage.find_objects(positions + 1), strict=True)):
        if segment_id:
            mask = positions[box] == position
            numbers, count = ndimage.label(mask, np.ones((3, 3)))
            part_map[box][mask] = numbers[mask] + len(owners)
            owners |= dict.fromkeys(range(len(owners) + 1, len(owners) + 1 + count), segment_id)
    return part_map, owners


def _simplest(part_map: IdMap, as_written: Callable[[Points], Points]) -> dict[int, Points]:
    """A polygon of every part of a map, with as few points as give enough of it back."""
    rings = trace_rings(part_map)
    levels = dict.fromkeys(rings, 0)
    polygons: dict[int, Points] = {}
    changed = set(rings)
    while changed:
        polygons |= {part: as_written(_polygon(part, rings[part], levels)) for part in changed}
        coarse = {part for part in _changed_too_much(part_map, polygons) if _TOLERANCES[levels[part]] > 0}
        for part in coarse:
            levels[part] += 1
        # The other side of a border is drawn anew with it.
        changed = {
            part
            for part, own in rings.items()
            if part in coarse or any(arc.neighbour in coarse for ring in own for arc in ring.arcs)
        }
    return polygons


def _polygon(part: int, rings: list[Ring], levels: Mapping[int, int]) -> Points:
    def tolerance(neighbour: int) -> float:
        return _TOLERANCES[max(levels[part], levels.get(neighbour, 0))]

    outer_first = sorted(rings, key=lambda ring: ring.is_hole)
    return join([outline(ring, tolerance) for ring in outer_first])


def _changed_too_much(part_map: IdMap, polygons: Mapping[int, Points]) -> list[int]:
    """The parts of which the polygons do not give enough back."""
    height, width = part_map.shape
    painted = np.zeros_like(part_map)
    for part, polygon in polygons.items():
        region = region_from_polygons("", [polygon.ravel().tolist()], height, width) if len(polygon) >= 3 else None
        if region is not None:
            painted[region.window][region.mask] = part
    before, after, pixels = count_pairs(part_map, painted)
    size = max(polygons, default=0) + 1
    common = np.bincount(before[before == after], pixels[before == after], size)
    union = np.bincount(before, pixels, size) + np.bincount(after, pixels, size) - common
    return [part for part in polygons if common[part] < MIN_IOU * union[part]]
