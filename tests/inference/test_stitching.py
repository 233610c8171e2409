"""Tiles of a known scene must give the scene back, whatever is cut by a seam."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.categories import Categories
from panoptic_blend.errors import DatasetError
from panoptic_blend.inference import stitching
from panoptic_blend.inference.stitching import Stitcher, TilePrediction, ids
from panoptic_blend.inference.tiles import GRID, Span, cut
from panoptic_blend.structures import IdMap, Segment

CATEGORIES = Categories.from_json(
    [
        {"id": 3, "name": "car", "isthing": 1},
        {"id": 5, "name": "person", "isthing": 1},
        {"id": 7, "name": "road", "isthing": 0},
        {"id": 9, "name": "sky", "isthing": 0},
    ]
)
TILE, OVERLAP = 72, 24  # a tile of 72 pixels is no multiple of 32, but small scenes have many of them


class Scene:
    """Rectangles that do not touch, some larger than a tile, on stuff whose border lies on the grid.

    Attributes:
        things: [H, W], n + 1 where thing n is.
        labels: of the things.
        stuff: [H, W] labels of the stuff branch.
    """

    def __init__(self, height: int, width: int, rng: np.random.Generator):
        self.things = np.zeros((height, width), np.int32)
        self.labels: list[int] = []
        for _ in range(40):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            tall, wide = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
            around = self.things[max(0, top - 2) : top + tall + 2, max(0, left - 2) : left + wide + 2]
            if not around.any():
                self.labels.append(int(rng.integers(2)))
                self.things[top : top + tall, left : left + wide] = len(self.labels)
        self.stuff = np.ones((height, width), np.int32)
        self.stuff[: int(rng.integers(height)) // GRID * GRID] = 2

    def tiles(self, rows: list[Span], columns: list[Span]) -> Iterator[TilePrediction]:
        for row in rows:
            for column in columns:
                here = np.s_[row.start : row.stop, column.start : column.stop]
                seen, things = np.unique(self.things[here], return_inverse=True)
                things = things.reshape(self.things[here].shape).astype(np.int32)
                if seen[0] != 0:
                    seen, things = np.r_[0, seen], things + 1
                labels = [self.labels[thing - 1] for thing in seen[1:].tolist()]
                scores = [1 - 0.01 * thing for thing in seen[1:].tolist()]
                stuff = torch.from_numpy(self.stuff[here][::GRID, ::GRID].astype(np.int64))
                logits = torch.nn.functional.one_hot(stuff, 3).permute(2, 0, 1).float()
                yield TilePrediction(things, labels, scores, logits)


def stitch(scene: Scene, min_stuff_area: int = 0) -> tuple[IdMap, list[Segment]]:
    rows, columns = (cut(length, TILE, OVERLAP) for length in scene.things.shape)
    stitcher = Stitcher(rows, columns, CATEGORIES, min_stuff_area)
    strips = list(stitcher.strips(scene.tiles(rows, columns)))
    segments, thing_ids, stuff_ids = stitcher.finish()
    return np.concatenate([ids(strip, thing_ids, stuff_ids) for strip in strips]), segments


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_things_of_any_size_come_back_whole(height: int, width: int, seed: int) -> None:
    scene = Scene(height, width, np.random.default_rng(seed))
    id_map, segments = stitch(scene)
    assert id_map.shape == scene.things.shape
    things = [segment for segment in segments if segment.is_thing]
    assert len(things) == len(scene.labels)
    for number, label in enumerate(scene.labels, start=1):
        (found,) = np.unique(id_map[scene.things == number])
        (segment,) = [each for each in things if each.id == found]
        assert segment.category_id == CATEGORIES.things[label].id
        assert segment.area == (id_map == found).sum() == (scene.things == number).sum()
        assert segment.score == pytest.approx(1 - 0.01 * number)
    assert [segment.id for segment in segments] == list(range(1, len(segments) + 1))
    assert [each.score for each in things] == sorted((each.score for each in things), reverse=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_stuff_shows_no_seams(height: int, width: int, seed: int) -> None:
    scene = Scene(height, width, np.random.default_rng(seed))
    id_map, segments = stitch(scene)
    category_of = np.array([0, *[segment.category_id for segment in segments]])
    free = scene.things == 0
    expected = np.array([0, 7, 9])[scene.stuff]
    wrong = (category_of[id_map] != expected) & free
    border = (scene.stuff == 2).sum(axis=0)[0]  # interpolation decides within half a cell of it
    rows = np.nonzero(wrong.any(axis=1))[0]
    assert all(abs(row - border) <= GRID // 2 for row in rows)
    for segment in segments:
        assert segment.area == (id_map == segment.id).sum() > 0


def test_stuff_that_is_small_in_the_whole_picture_is_void() -> None:
    scene = Scene(200, 200, np.random.default_rng(0))
    scene.things[:], scene.labels = 0, []
    scene.stuff[:] = 1
    scene.stuff[:8] = 2
    id_map, segments = stitch(scene, min_stuff_area=8 * 200 + 1)
    assert [segment.category_id for segment in segments] == [7]
    assert set(np.unique(id_map[:6])) == {0}
    assert {segment.category_id for segment in stitch(scene, min_stuff_area=1000)[1]} == {7, 9}


def two_tiles(first: tuple[int, int, float, int], second: tuple[int, int, float, int]) -> tuple[IdMap, list[Segment]]:
    """One thing each in two tiles of 64 pixels that share columns 40 to 64: its columns, score, label."""
    columns, rows = cut(104, 64, OVERLAP), cut(64, 64, OVERLAP)
    assert [(span.start, span.stop) for span in columns] == [(0, 64), (40, 104)]
    tiles = []
    for span, (start, stop, score, label) in zip(columns, (first, second), strict=True):
        things = np.zeros((64, 64), np.int32)
        things[:, max(start - span.start, 0) : max(stop - span.start, 0)] = 1
        tiles.append(TilePrediction(things, [label], [score], None))
    stitcher = Stitcher(rows, columns, CATEGORIES, 0)
    strips = list(stitcher.strips(iter(tiles)))
    segments, thing_ids, stuff_ids = stitcher.finish()
    return np.concatenate([ids(strip, thing_ids, stuff_ids) for strip in strips]), segments


def test_masks_that_agree_in_half_of_what_is_shared_are_one_thing() -> None:
    id_map, segments = two_tiles((20, 60, 0.6, 0), (46, 90, 0.9, 0))  # 14 of 20 shared columns
    assert [(segment.area, segment.score) for segment in segments] == [(70 * 64, 0.9)]
    assert set(np.unique(id_map[0, 20:90])) == {1}


@pytest.mark.parametrize("label", [0, 1])
def test_masks_that_disagree_or_of_other_categories_stay_apart(label: int) -> None:
    start = 58 if label == 0 else 46
    id_map, segments = two_tiles((20, 60, 0.6, 0), (start, 90, 0.9, label))
    assert len(segments) == 2
    # Each decides in its core, up to column 52; beyond, the first takes what is free.
    assert id_map[0, 51] == 2
    assert id_map[0, 52] == (2 if label == 0 else 1)
    assert id_map[0, 59] == id_map[0, 60] == 1


def test_a_thing_beyond_the_core_that_the_neighbour_does_not_see_is_left_out() -> None:
    id_map, segments = two_tiles((54, 60, 0.9, 0), (80, 90, 0.8, 0))
    assert [segment.area for segment in segments] == [10 * 64]
    assert not id_map[:, :80].any()


def test_a_map_without_a_stuff_branch_leaves_the_rest_void() -> None:
    id_map, segments = two_tiles((0, 10, 0.9, 0), (90, 104, 0.8, 1))
    assert [segment.category_id for segment in segments] == [3, 5]
    assert not id_map[:, 10:90].any()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000), st.integers(-2, 2))
def test_more_segments_than_ids_are_refused_and_no_fewer(height: int, width: int, seed: int, spare: int) -> None:
    scene = Scene(height, width, np.random.default_rng(seed))
    number = len(stitch(scene)[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stitching, "MAX_ID", number + spare)
        if spare >= 0:
            assert len(stitch(scene)[1]) == number
        else:
            with pytest.raises(DatasetError, match="Cut it into several pictures"):
                stitch(scene)


def test_too_many_segments_are_told_before_the_picture_is_predicted_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(600, 100, np.random.default_rng(0))
    scene.things, scene.stuff = np.zeros((600, 100), np.int32), np.ones((600, 100), np.int32)
    scene.things[2:600:4, 2:100:4] = np.arange(1, 150 * 25 + 1).reshape(150, 25)
    scene.labels = [0] * (150 * 25)
    rows, columns = (cut(length, TILE, OVERLAP) for length in scene.things.shape)
    stitcher, predicted = Stitcher(rows, columns, CATEGORIES, 0), []
    monkeypatch.setattr(stitching, "MAX_ID", 1000)
    with pytest.raises(DatasetError, match="more than 1000 segments"):
        for _ in stitcher.strips(predicted.append(tile) or tile for tile in scene.tiles(rows, columns)):
            pass
    # 1000 of them lie in the first 160 rows of pixels, which four rows of tiles have finished.
    assert len(predicted) == 4 * len(columns) < len(rows) * len(columns)
