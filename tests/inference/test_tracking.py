"""Ids stay with the things of films whose tracks are known."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.film_quality import FilmQuality, FilmResult
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.inference.tracking import Tracker
from panoptic_blend.inference.visualize import segment_colors
from panoptic_blend.structures import PanopticMap, Segment
from panoptic_blend.synthetic.scene import SHAPES, Scene

from .moving_shapes import moving_shapes


def perturbed(scene: Scene, rng: np.random.Generator, lost: float = 0.1) -> PanopticMap:
    """The truth a pixel or two beside its place, under ids that mean nothing, a share of the things lost."""
    shift = rng.integers(-2, 3, 2)
    truth = np.roll(scene.id_map, shift, (0, 1))
    listed = [i for i in np.unique(truth).tolist() if i]
    names = dict(zip(listed, (rng.permutation(len(listed)) + 1).tolist(), strict=True))
    id_map, segments = np.zeros_like(truth), []
    for i in listed:
        category = SHAPES.by_id(scene.segments[i].category_id)
        if not category.is_thing or rng.random() >= lost:
            id_map[truth == i] = names[i]
            segments.append(Segment(names[i], category.id, category.is_thing, 0.9, int((truth == i).sum())))
    return PanopticMap(id_map, segments)


def score(scenes: list[Scene], maps: list[PanopticMap]) -> FilmResult:
    quality = FilmQuality(SHAPES)
    for frame, (scene, found) in enumerate(zip(scenes, maps, strict=True)):
        true = [
            SegmentRecord(i, meaning.category_id, meaning.is_crowd, -1, (0, 0, 0, 0))
            for i, meaning in scene.segments.items()
        ]
        pair = ImagePair(frame, scene.id_map, true, found.id_map, found.segments, video_id=1, frame_id=frame)
        quality.update(pair)
    return quality.compute()


@pytest.mark.parametrize("seed", range(2))
def test_vpq_of_tracked_films_is_near_their_frames_pq(seed: int):
    scenes = list(moving_shapes(seed, 24))
    rng = np.random.default_rng(seed)
    found = [perturbed(scene, rng, lost=0.02) for scene in scenes]
    tracker = Tracker(SHAPES)
    tracked, untracked = score(scenes, [tracker.update(each) for each in found]), score(scenes, found)
    assert tracked.pq.all.pq == pytest.approx(untracked.pq.all.pq)  # ids are all that changed
    assert 0.75 < tracked.pq.all.pq < 1
    assert tracked.vpq.all >= 0.9 * tracked.pq.all.pq
    assert untracked.vpq.all < 0.7 * tracked.pq.all.pq
    assert tracked.stq.aq > 2 * untracked.stq.aq


def boxes(*places: tuple[int, int, int], category: int = 1) -> PanopticMap:
    """Squares of 10 pixels on void, (id, y, x) each."""
    id_map = np.zeros((60, 120), np.int32)
    for i, y, x in places:
        id_map[y : y + 10, x : x + 10] = i
    return PanopticMap(id_map, [Segment(i, category, True, 0.9, 100) for i, *_ in places])


def follow(tracker: Tracker, *frames: PanopticMap) -> list[list[int]]:
    """Ids of every frame, in the order of its segments."""
    return [[segment.id for segment in tracker.update(frame).segments] for frame in frames]


def test_ids_follow_things_and_not_the_order_of_segments():
    one, two = len(SHAPES) + 1, len(SHAPES) + 2
    ids = follow(Tracker(SHAPES), boxes((7, 0, 0), (9, 30, 50)), boxes((9, 1, 3), (7, 30, 47)), boxes((3, 30, 44)))
    assert ids == [[one, two], [one, two], [two]]


def test_a_thing_that_was_hidden_is_found_where_it_moved_on_to_until_it_is_forgotten():
    frames = [boxes((1, 0, 4 * t)) for t in range(4)]
    hidden = [boxes() for _ in range(5)]
    again = boxes((1, 0, 4 * 9))
    assert follow(Tracker(SHAPES), *frames, *hidden, again)[-1] == [len(SHAPES) + 1]
    assert follow(Tracker(SHAPES, memory=4), *frames, *hidden, again)[-1] == [len(SHAPES) + 2]


def test_things_of_other_categories_are_others():
    ids = follow(Tracker(SHAPES), boxes((1, 0, 0)), boxes((1, 0, 0), category=2))
    assert ids == [[len(SHAPES) + 1], [len(SHAPES) + 2]]


def test_pairs_are_chosen_together():
    """The greedy choice, the largest IoU first, would leave the left one without its successor."""
    left_and_right = boxes((1, 0, 0), (2, 0, 10))
    moved = boxes((1, 0, 4), (2, 0, 14))
    ids = follow(Tracker(SHAPES, min_iou=0.1), left_and_right, moved)
    assert ids[0] == ids[1]


def test_stuff_keeps_ids_and_colours_and_so_do_things():
    scenes = list(moving_shapes(3, 12))
    rng, tracker = np.random.default_rng(0), Tracker(SHAPES)
    colors = defaultdict(set)
    for scene in scenes:
        found = tracker.update(perturbed(scene, rng, lost=0))
        for segment_id, color in segment_colors(found.segments, SHAPES, by_id=True).items():
            colors[segment_id].add(color)
        for segment in found.segments:
            if not segment.is_thing:
                assert segment.id == SHAPES.position(segment.category_id) + 1
                assert colors[segment.id] == {SHAPES.by_id(segment.category_id).color}
            assert segment.area == (found.id_map == segment.id).sum()
    assert all(len(each) == 1 for each in colors.values())


def test_pieces_of_stuff_become_one_segment():
    id_map = np.repeat(np.array([[4, 5, 6]], np.int32), 3, axis=0)
    stuff = SHAPES.stuff[0].id
    segments = [Segment(4, stuff, False, 1.0, 3), Segment(5, stuff, False, 1.0, 3), Segment(6, 1, True, 0.5, 3)]
    result = Tracker(SHAPES).update(PanopticMap(id_map, segments))
    assert [(s.category_id, s.area) for s in result.segments] == [(stuff, 6), (1, 3)]


def test_remembering_frames_is_as_good_as_having_tracked_them():
    scenes = list(moving_shapes(5, 30))
    rng = np.random.default_rng(5)
    found = [perturbed(scene, rng) for scene in scenes]
    first, second = Tracker(SHAPES), Tracker(SHAPES)
    whole = [first.update(each) for each in found]
    for kept in whole[:17]:
        second.remember(kept.id_map, kept.segments)
    for expected, each in zip(whole[17:], found[17:], strict=True):
        again = second.update(each)
        assert np.array_equal(again.id_map, expected.id_map)
        assert again.segments == expected.segments
