"""The segments of an id map as the simplest polygons that give them back."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from panoptic_blend.coco.counting import count_pairs, distinct_ids
from panoptic_blend.convert.outlines import Points, Ring, join, outline, trace_rings
from panoptic_blend.convert.source import region_from_polygons
from panoptic_blend.structures import IdMap

MIN_IOU = 0.98
"""Of a segment with what its polygons give back."""
_TOLERANCES = (1.0, 0.5, 0.25, 0.0)
"""Pixels that outlines may be moved, from the simplest to the exact one."""


def polygons_of(
    id_map: IdMap, in_one: Collection[int], as_written: Callable[[Points], Points] = lambda points: points
) -> dict[int, list[Points]]:
    """Polygons of every segment of a map [H, W], by id: one for each connected part.

    Holes, and the parts of segments in `in_one`, are joined by bridges without width. Filled as COCO fills polygons, a
    segment has an IoU of `MIN_IOU` or more with its pixels.

    Args:
        in_one: ids of the segments that get a single polygon.
        as_written: a polygon as it is read again, after it was rounded for a file.
    """
    rings = trace_rings(id_map)
    levels = dict.fromkeys(rings, 0)
    polygons: dict[int, list[Points]] = {}
    changed = set(rings)
    while changed:
        for segment_id in changed:
            polygons[segment_id] = [
                as_written(polygon)
                for polygon in _polygons(segment_id, rings[segment_id], levels, segment_id in in_one)
            ]
        coarse = {each for each in _changed_too_much(id_map, polygons) if _TOLERANCES[levels[each]] > 0}
        for segment_id in coarse:
            levels[segment_id] += 1
        changed = {
            segment_id
            for segment_id, own in rings.items()
            if segment_id in coarse or any(arc.neighbour in coarse for ring in own for arc in ring.arcs)
        }
    return polygons


def _polygons(segment_id: int, rings: list[Ring], levels: dict[int, int], in_one: bool) -> list[Points]:
    def tolerance(neighbour: int) -> float:
        return _TOLERANCES[max(levels[segment_id], levels.get(neighbour, 0))]

    parts: dict[int, list[Points]] = {}
    for ring in sorted(rings, key=lambda each: each.is_hole):
        polygon = outline(ring, tolerance)
        if len(polygon) >= 3:
            parts.setdefault(0 if in_one else ring.part, []).append(polygon)
    return [join(part) for part in parts.values()]


def _changed_too_much(id_map: IdMap, polygons: dict[int, list[Points]]) -> list[int]:
    """Ids of the segments of which the polygons do not give enough back."""
    height, width = id_map.shape
    regions = {
        segment_id: region_from_polygons("", [polygon.ravel().tolist() for polygon in each], height, width)
        for segment_id, each in polygons.items()
    }
    painted = np.zeros_like(id_map)
    # The smaller lies in front, as where such polygons are read.
    for segment_id, region in sorted(regions.items(), key=lambda each: -each[1].area if each[1] else 0):
        if region is not None:
            painted[region.window][region.mask] = segment_id
    before, after, both = count_pairs(id_map, painted)
    areas = dict.fromkeys([*distinct_ids(id_map).tolist(), *distinct_ids(painted).tolist()], 0)
    common = dict.fromkeys(areas, 0)
    for first, second, pixels in zip(before.tolist(), after.tolist(), both.tolist(), strict=True):
        areas[first] += pixels
        areas[second] += pixels
        if first == second:
            common[first] = pixels
    return [each for each in polygons if common[each] < MIN_IOU * (areas[each] - common[each])]
