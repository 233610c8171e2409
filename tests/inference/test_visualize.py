from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.categories import Categories, Category
from panoptic_blend.inference.visualize import contact_sheet, draw_overlay, side_by_side
from panoptic_blend.structures import Segment

CATEGORIES = Categories([Category(7, "car", True, (200, 30, 30)), Category(9, "road", False, (40, 90, 200))])
CAR, OTHER_CAR, ROAD = (
    Segment(1, 7, True, 0.9, 100 * 100),
    Segment(2, 7, True, 0.8, 100 * 80),
    Segment(70000, 9, False, 1.0, 480 * 200),
)


def _scene() -> tuple[np.ndarray, np.ndarray]:
    """A grey 480 x 480 picture: void above, two cars in it, road below."""
    image = np.full((480, 480, 3), 128, np.uint8)
    id_map = np.zeros((480, 480), np.int32)
    id_map[100:200, 50:150] = 1
    id_map[100:200, 300:380] = 2
    id_map[280:] = 70000
    return image, id_map


def _color(picture: Image.Image, rows: slice, columns: slice) -> np.ndarray:
    return np.median(np.asarray(picture)[rows, columns].reshape(-1, 3), axis=0)


def test_segments_wear_their_categories_colours_and_instances_differ():
    picture = draw_overlay(*_scene(), [CAR, OTHER_CAR, ROAD], CATEGORIES)
    car, other = (_color(picture, slice(105, 125), columns) for columns in (slice(55, 145), slice(305, 375)))
    road, void = _color(picture, slice(440, 470), slice(20, 200)), _color(picture, slice(20, 60), slice(20, 400))
    assert car[0] > car[2] + 40
    assert other[0] > other[2] + 40
    assert np.abs(car - other).max() > 15
    assert road[2] > road[0] + 30
    assert np.ptp(void) == 0  # no colour at all


def test_names_are_written_inside_their_segments():
    image, id_map = _scene()
    named = np.asarray(draw_overlay(image, id_map, [CAR, OTHER_CAR, ROAD], CATEGORIES)).astype(int)
    white = (named > 240).all(axis=2)
    inside = np.zeros_like(white)
    inside[110:190, 40:160] = inside[110:190, 290:390] = inside[290:470, 10:470] = True
    for region in (
        (slice(110, 190), slice(60, 140)),
        (slice(110, 190), slice(310, 370)),
        (slice(290, 470), slice(10, 470)),
    ):
        assert white[region].any()
    assert not white[~inside].any()


def test_scores_are_written_on_demand_only():
    with_scores = draw_overlay(*_scene(), [CAR, OTHER_CAR, ROAD], CATEGORIES)
    without = draw_overlay(*_scene(), [CAR, OTHER_CAR, ROAD], CATEGORIES, scores=False)
    differs = (np.asarray(with_scores) != np.asarray(without)).any(axis=2)
    assert differs[100:200].any()
    assert not differs[250:].any()  # stuff has no score


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((160, 224), 3), ((1, 1), 4), ((720, 1280), 1), ((3, 900), 4), ((2, 17000), 3), ((1, 40000), 1)],
)
def test_small_pictures_grow_by_a_whole_factor_within_what_jpeg_can_hold(shape: tuple[int, int], factor: int):
    image, id_map = np.zeros((*shape, 3), np.uint8), np.full(shape, 1, np.int32)
    picture = draw_overlay(image, id_map, [CAR], CATEGORIES)
    assert picture.size == (shape[1] * factor, shape[0] * factor)


def test_nothing_predicted_is_a_picture_too():
    image, id_map = _scene()
    assert draw_overlay(image, id_map * 0, [], CATEGORIES).size == (480, 480)


def test_side_by_side_has_one_height_and_room_for_titles():
    row = side_by_side([("small", Image.new("RGB", (40, 50))), ("large", Image.new("RGB", (300, 200)))])
    assert row.height > 200
    assert row.width > 160 + 300
    title = np.asarray(row)[: row.height - 200]
    assert (title < 128).any()  # ink


def test_a_contact_sheet_stacks_rows_of_one_width():
    sheet = contact_sheet([Image.new("RGB", (100, 50)), Image.new("RGB", (200, 50))], width=100)
    assert sheet.width == 100
    assert sheet.height == 50 + 25 + 8
