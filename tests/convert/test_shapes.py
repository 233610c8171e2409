from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from panoptic_blend.convert.shapes import add_polygons, join_groups, mask_from_runs, runs_of_string
from panoptic_blend.convert.source import ImageLabels, region_from_mask, region_from_polygons
from panoptic_blend.errors import DatasetError

HEIGHT, WIDTH = 13, 17


def full(region) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if region is not None:
        assert region.mask[[0, -1]].any(axis=1).all(), "rows without a pixel"
        assert region.mask[:, [0, -1]].any(axis=0).all(), "columns without a pixel"
        mask[region.window] = region.mask
    return mask


coordinates = st.one_of(
    st.integers(-20, 40).map(float), st.integers(-200, 400).map(lambda tenths: tenths / 10), st.floats(-20, 40)
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=7), min_size=1, max_size=3))
def test_polygons_are_filled_pixel_by_pixel_as_coco_fills_them(polygons):
    flat = [[each for point in polygon for each in point] for polygon in polygons]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, HEIGHT, WIDTH))).astype(bool)
    assert np.array_equal(full(region_from_polygons("car", flat, HEIGHT, WIDTH)), expected)


def test_polygons_that_reach_to_the_stars_are_cut():
    square = [[-1e15, -1e15, 1e15, -1e15, 1e15, 1e15, -1e15, 1e15]]
    assert full(region_from_polygons("car", square, HEIGHT, WIDTH)).all()
    assert region_from_polygons("car", [[1e12, 0, 2e12, 0, 2e12, 5]], HEIGHT, WIDTH) is None
    right_half = full(region_from_polygons("car", [[8, -1e9, 1e9, -1e9, 1e9, 1e9, 8, 1e9]], HEIGHT, WIDTH))
    assert np.array_equal(right_half, np.broadcast_to(np.arange(WIDTH) >= 8, (HEIGHT, WIDTH)))


def test_a_polygon_that_crosses_itself_is_two_triangles():
    found = full(region_from_polygons("car", [[0, 0, 10, 10, 10, 0, 0, 10]], HEIGHT, WIDTH))
    assert found[5, [1, 8]].all()
    assert not found[[1, 8], 5].any()


def test_what_has_no_area_is_lost_and_said():
    labels = ImageLabels(HEIGHT, WIDTH)
    add_polygons(labels, "car", [[1, 1, 5, 5]], "polygon 1")
    add_polygons(labels, "car", [[1, 1, 5, 5, 9, 9]], "polygon 2")
    add_polygons(labels, "car", [[90, 1, 95, 1, 95, 9]], "polygon 3")
    assert labels.regions == []
    assert labels.lost == [
        "polygon 1: a polygon of 2 points, which has no area",
        "polygon 2: has no pixels in the image",
        "polygon 3: has no pixels in the image",
    ]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_runs_give_the_mask_that_was_encoded(seed: int, share: float):
    mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < share
    text = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    runs = runs_of_string(text, "x")
    assert np.array_equal(mask_from_runs(runs, HEIGHT, WIDTH, "x"), mask)
    assert np.array_equal(mask_from_runs(runs, WIDTH, HEIGHT, "x", by_columns=False), mask.T)


def test_long_runs_take_several_characters():
    mask = np.zeros((3000, 2000), np.uint8)
    mask[7:2900, 3:1990] = 1
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    assert np.array_equal(mask_from_runs(runs_of_string(text, "x"), 3000, 2000, "x"), mask)


@pytest.mark.parametrize("text", ["P", "ÿ", "a b", "~~~~", "oooooooooooooo0"])
def test_damaged_strings_are_refused(text: str):
    with pytest.raises(DatasetError, match="x: "):
        mask_from_runs(runs_of_string(text, "x"), 2, 2, "x")


@pytest.mark.parametrize("runs", [[1, 2], [5], [-1, 5], [2.0, 2], [True, 3], [], [2**80]])
def test_runs_that_do_not_fit_are_refused(runs):
    with pytest.raises(DatasetError, match="x: "):
        mask_from_runs(runs, 2, 2, "x")


def test_sizes_that_no_image_has_are_refused_before_memory_is_taken():
    with pytest.raises(DatasetError, match="more than an image may have"):
        mask_from_runs([2**40], 2**20, 2**20, "x")


def test_groups_become_one_region_where_the_last_lies():
    def box(category: str, left: int):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[2:4, left : left + 2] = True
        return region_from_mask(category, mask)

    labels = ImageLabels(HEIGHT, WIDTH, [box("car", 0), box("cat", 2), box("car", 8), box("car", 12)])
    join_groups(labels, [1, 1, 1, None])
    assert [(each.category, each.left, each.area) for each in labels.regions] == [
        ("cat", 2, 4),
        ("car", 0, 8),
        ("car", 12, 4),
    ]
