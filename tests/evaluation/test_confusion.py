from collections import Counter

import numpy as np
import pytest

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.confusion import Confused, PanopticConfusion
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.structures import Segment

from .random_maps import CATEGORIES, random_pair
from .slow import SlowImage


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return [random_pair(rng, number) for number in range(300)]


def slow_tables(pairs):
    pixels, segments = Counter(), Counter()
    for pair in pairs:
        image = SlowImage(pair)
        true_category = {s.id: s.category_id for s in pair.truth_segments if not s.is_crowd}
        predicted_category = {s.id: s.category_id for s in pair.predicted_segments}
        for place in np.ndindex(pair.truth_ids.shape):
            t, p = int(pair.truth_ids[place]), int(pair.predicted_ids[place])
            pixels[true_category.get(t), predicted_category.get(p)] += 1
        for true, predicted, _ in image.matches:
            segments[true.category_id, predicted.category_id] += 1
        missed, surplus = list(image.missed), list(image.surplus)
        for true in image.missed:
            for predicted in image.surplus:
                if image.iou(true, predicted) > 0.5:
                    segments[true.category_id, predicted.category_id] += 1
                    missed.remove(true)
                    surplus.remove(predicted)
        for true in missed:
            segments[true.category_id, None] += 1
        for predicted in surplus:
            segments[None, predicted.category_id] += 1
    return pixels, segments


def test_equals_going_through_pixels_and_segments(pairs):
    metric = PanopticConfusion(CATEGORIES)
    for pair in pairs:
        metric.update(pair)
    rows = metric.compute().rows
    pixels, segments = slow_tables(pairs)
    assert Counter({(row.truth, row.predicted): row.pixels for row in rows}) == pixels
    assert Counter({(row.truth, row.predicted): row.segments for row in rows}) == segments
    off_diagonal = [row for row in rows if None not in (row.truth, row.predicted) and row.truth != row.predicted]
    assert sum(row.segments for row in off_diagonal) > 10


def test_segments_add_up_to_what_panoptic_quality_counts(pairs):
    metric, quality = PanopticConfusion(CATEGORIES), PanopticQuality(CATEGORIES)
    for pair in pairs:
        metric.update(pair)
        quality.update(pair)
    table, counts = metric.state()["segments"], quality.state()
    np.testing.assert_array_equal(np.diagonal(table)[:-1], counts["tp"])
    np.testing.assert_array_equal(table.sum(axis=1)[:-1], counts["tp"] + counts["fn"])
    np.testing.assert_array_equal(table.sum(axis=0)[:-1], counts["tp"] + counts["fp"])
    assert metric.state()["pixels"].sum() == sum(pair.truth_ids.size for pair in pairs)


def test_a_truth_that_says_too_small_an_area_is_still_taken_once():
    truth = np.full((1, 8), 5, np.int32)
    predicted = np.array([[6, 6, 6, 6, 7, 7, 7, 7]], np.int32)
    true = [SegmentRecord(5, 1, False, 4, (0, 0, 0, 0))]
    metric = PanopticConfusion(CATEGORIES)
    metric.update(ImagePair(1, truth, true, predicted, [Segment(6, 9, True, 1.0, 4), Segment(7, 33, True, 1.0, 4)]))
    assert metric.compute().rows == (Confused(1, 9, 4, 1), Confused(1, 33, 4, 0), Confused(None, 33, 0, 1))
