from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.categories import Categories
from panoptic_blend.convert import painting
from panoptic_blend.convert.painting import paint
from panoptic_blend.convert.source import ImageLabels, Region, region_from_mask, region_from_polygons
from panoptic_blend.errors import DatasetError
from tests.convert.scenes import random_blobs

CATEGORIES = {
    c.name: c
    for c in Categories.from_json(
        [
            {"id": 5, "name": "road", "isthing": 0},
            {"id": 2, "name": "car", "isthing": 1},
            {"id": 9, "name": "cat", "isthing": 1},
        ]
    )
}


def labels(*regions: Region | None, size: tuple[int, int] = (6, 8), rest: str = "") -> ImageLabels:
    return ImageLabels(*size, regions=[region for region in regions if region is not None], rest=rest)


def box(category: str, rows: slice, columns: slice, **kind: bool) -> Region | None:
    mask = np.zeros((6, 8), bool)
    mask[rows, columns] = True
    return region_from_mask(category, mask, **kind)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 6))
def test_objects_that_do_not_overlap_are_painted_as_they_are(seed: int, count: int):
    generator = np.random.default_rng(seed)
    numbers = random_blobs(generator, 9, 11, count)
    names = generator.choice(["car", "cat"], count + 1)
    regions = [region_from_mask(str(names[n]), numbers == n) for n in range(1, count + 1)]
    painted = paint(labels(*regions, size=(9, 11)), CATEGORIES)
    found = {(painted.id_map == i).tobytes(): meaning.category_id for i, meaning in painted.segments.items()}
    expected = {
        (numbers == n).tobytes(): CATEGORIES[str(names[n])].id for n in range(1, count + 1) if (numbers == n).any()
    }
    assert found == expected
    assert painted.overlaps == 0
    assert sorted(painted.segments) == list(range(1, len(expected) + 1))


@pytest.mark.parametrize(("overlap", "front"), [("smaller", "cat"), ("order", "car")])
def test_who_stays_in_front(overlap: str, front: str):
    small, large = box("cat", slice(1, 3), slice(1, 3)), box("car", slice(0, 5), slice(0, 5))
    painted = paint(labels(small, large), CATEGORIES, overlap)  # type: ignore[arg-type]
    assert painted.segments[painted.id_map[1, 1]].category_id == CATEGORIES[front].id
    assert painted.overlaps == 1
    assert painted.lost == ([] if front == "cat" else ["1 'cat' hidden behind others"])
    with pytest.raises(DatasetError, match=r"'c.*' and 'c.*' overlap"):
        paint(labels(small, large), CATEGORIES, "error")


def test_label_maps_lie_behind_objects_and_are_no_overlap():
    road = box("road", slice(0, 6), slice(0, 8), is_object=False)
    painted = paint(labels(box("car", slice(1, 3), slice(1, 3)), road), CATEGORIES, "error")
    assert painted.segments[painted.id_map[1, 1]].category_id == 2
    assert painted.segments[painted.id_map[0, 0]].category_id == 5


def test_things_of_label_maps_are_connected_parts_of_eight_neighbours():
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[1, 1] = mask[5, 5:8] = mask[3, 0] = True
    painted = paint(labels(region_from_mask("car", mask, is_object=False)), CATEGORIES, min_area=2)
    assert painted.id_map[0, 0] == painted.id_map[1, 1] != painted.id_map[5, 5] != 0
    assert painted.id_map[3, 0] == 0
    assert painted.lost == ["1 parts of 'car' below 2 pixels"]


def test_all_pixels_of_stuff_are_one_segment_and_crowds_stay_crowds():
    painted = paint(
        labels(
            box("road", slice(0, 1), slice(0, 1)),
            box("car", slice(2, 3), slice(0, 4), is_crowd=True),
            box("road", slice(5, 6), slice(7, 8)),
        ),
        CATEGORIES,
    )
    assert painted.id_map[0, 0] == painted.id_map[5, 7]
    assert [meaning.is_crowd for meaning in painted.segments.values()] == [False, True]


def test_the_rest_is_what_no_region_covers_and_other_names_become_void():
    painted = paint(labels(box("car", slice(0, 2), slice(0, 2)), rest="road"), CATEGORIES)
    assert (painted.id_map == 0).sum() == 0
    assert {m.category_id for m in painted.segments.values()} == {2, 5}
    assert (paint(labels(box("dog", slice(0, 2), slice(0, 2))), CATEGORIES).id_map == 0).all()


def test_polygons_are_filled_and_cut_at_the_border():
    region = region_from_polygons("car", [[2, 1, 30, 1, 30, 4, 2, 4]], 6, 8)
    assert region is not None
    assert (region.top, region.left, region.mask.shape) == (1, 2, (3, 6))
    assert region.mask.all()
    assert region_from_polygons("car", [[20, 1, 30, 1, 30, 4]], 6, 8) is None


def test_more_segments_than_a_png_has_ids_are_refused(monkeypatch: pytest.MonkeyPatch):
    dots = np.zeros((6, 8), bool)
    dots[::2, ::2] = True  # 12 that do not touch
    spotted = labels(region_from_mask("car", dots, is_object=False))
    monkeypatch.setattr(painting, "MAX_ID", 12)
    assert len(paint(spotted, CATEGORIES).segments) == 12
    monkeypatch.setattr(painting, "MAX_ID", 11)
    with pytest.raises(DatasetError, match="has 12 segments, but a PNG holds 11 ids"):
        paint(spotted, CATEGORIES)


def test_void_hides_what_lies_behind_and_is_nothing_itself():
    road, ignored = box("road", slice(0, 6), slice(0, 8)), box("__ignore__", slice(1, 3), slice(2, 5))
    painted = paint(labels(road, ignored, box("car", slice(2, 3), slice(4, 5))), CATEGORIES, "error")
    assert {segment.category_id for segment in painted.segments.values()} == {5, 2}
    assert (painted.id_map[1:3, 2:5] == 0).sum() == 5  # but for the car before it
    assert (painted.id_map == 0).sum() == 5
    assert not painted.lost
    assert not painted.overlaps


def test_a_category_may_be_called_so():
    named = {"ignore": Categories.from_json([{"id": 1, "name": "ignore", "isthing": 0}]).by_id(1)}
    assert (paint(labels(box("ignore", slice(0, 3), slice(0, 8))), named).id_map > 0).sum() == 24
