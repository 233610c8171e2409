from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from panoptic_blend.convert.outlines import join, outline, trace_rings
from panoptic_blend.convert.polygons import MIN_IOU, polygons_of
from panoptic_blend.convert.source import region_from_polygons


def random_map(seed: int) -> np.ndarray:
    """Ids of 0..3 in blocks of one pixel or more, so that there are holes, parts and corners that touch."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 4, generator.integers(1, 12, 2)).astype(np.int32)
    return np.kron(coarse, np.ones(generator.integers(1, 5, 2), np.int32))


def filled(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """[H, W] bool, as COCO fills polygons."""
    mask = np.zeros((height, width), bool)
    region = region_from_polygons("", [polygon.ravel().tolist() for polygon in polygons], height, width)
    if region is not None:
        mask[region.window] = region.mask
    return mask


def area(polygon: np.ndarray) -> float:
    """Signed, by the sum of triangles; positive for what is drawn clockwise on the screen."""
    return sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True)) / 2


@pytest.mark.parametrize("seed", range(60))
def test_exact_outlines_hold_their_pixels(seed: int):
    id_map = random_map(seed)
    rings = trace_rings(id_map)
    assert set(rings) == set(np.unique(id_map).tolist()) - {0}
    for segment_id, own in rings.items():
        polygons = [outline(ring, lambda _: 0.0) for ring in own]
        assert sum(map(area, polygons)) == (id_map == segment_id).sum()
        assert [area(polygon) < 0 for polygon in polygons] == [ring.is_hole for ring in own]
        assert np.array_equal(filled([join(polygons)], *id_map.shape), id_map == segment_id)
        parts = ndimage.label(id_map == segment_id, np.ones((3, 3)))[1]
        assert sum(not ring.is_hole for ring in own) == parts


def test_a_rectangle_keeps_four_corners():
    id_map = np.zeros((20, 30), np.int32)
    id_map[3:11, 5:25] = 7
    (ring,) = trace_rings(id_map)[7]
    assert outline(ring, lambda _: 1.0).tolist() == [[5, 3], [25, 3], [25, 11], [5, 11]]


def test_a_slanted_line_loses_its_steps():
    id_map = (np.arange(40)[:, None] < np.arange(40)).astype(np.int32)
    (ring,) = trace_rings(id_map)[1]
    assert len(outline(ring, lambda _: 0.0)) > 70
    assert len(outline(ring, lambda _: 0.5)) <= 5


@pytest.mark.parametrize("seed", range(20))
def test_simplified_neighbours_do_not_overlap(seed: int):
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :50]
    seeds = generator.uniform(0, 50, (6, 2))
    id_map = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in seeds], axis=0).astype(np.int32) + 1
    for tolerance in (0.5, 1.0, 2.0):
        count = np.zeros(id_map.shape, int)
        for own in trace_rings(id_map).values():
            count += filled([join([outline(ring, lambda _: tolerance) for ring in own])], *id_map.shape)  # noqa: B023
        assert count.max() == 1
        assert (count == 0).mean() < 0.01


@pytest.mark.parametrize("seed", range(30))
def test_polygons_give_their_segments_back(seed: int):
    id_map = random_map(seed)
    in_one = {1, 2}
    for segment_id, polygons in polygons_of(id_map, in_one).items():
        mask = id_map == segment_id
        assert len(polygons) == 1 if segment_id in in_one else ndimage.label(mask, np.ones((3, 3)))[1]
        got = filled(polygons, *id_map.shape)
        assert (got & mask).sum() >= MIN_IOU * (got | mask).sum()


def test_small_parts_of_large_segments_are_kept():
    id_map = np.zeros((100, 100), np.int32)
    id_map[:80], id_map[90, 50], id_map[95:97, 3:5] = 1, 1, 1
    got = filled(polygons_of(id_map, in_one={1})[1], 100, 100)
    assert np.array_equal(got, id_map == 1)


def test_large_shapes_have_few_points():
    y, x = np.mgrid[:200, :200]
    distance = np.hypot(y - 100, x - 100)
    id_map = ((distance < 90) & (distance > 40)).astype(np.int32)  # a ring: with a hole
    ((polygon,),) = polygons_of(id_map, in_one={1}).values()
    assert len(polygon) < 60
    got = filled([polygon], *id_map.shape)
    assert (got & (id_map == 1)).sum() >= MIN_IOU * (got | (id_map == 1)).sum()
