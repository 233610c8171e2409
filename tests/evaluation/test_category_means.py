from collections import defaultdict

import numpy as np
import pytest

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.covering import ParsingCovering
from panoptic_blend.evaluation.dagger import PQDagger
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.structures import Segment

from .random_maps import CATEGORIES, random_pair
from .slow import SlowImage

STUFF = {category.id for category in CATEGORIES.stuff}


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(1)
    return [random_pair(rng, number) for number in range(200)]


def compute(kind, pairs):
    metric = kind(CATEGORIES)
    for pair in pairs:
        metric.update(pair)
    return metric.compute()


def check_means(result, expected):
    assert result.per_class == pytest.approx(expected)
    assert result.all == pytest.approx(np.mean(list(expected.values())))
    assert result.things == pytest.approx(np.mean([v for i, v in expected.items() if i not in STUFF]))
    assert result.stuff == pytest.approx(np.mean([v for i, v in expected.items() if i in STUFF]))
    assert result.notes == ()


def test_dagger_is_panoptic_quality_for_things_and_the_mean_iou_of_true_segments_for_stuff(pairs):
    overlaps = defaultdict(list)
    for pair in pairs:
        image = SlowImage(pair)
        for true in pair.truth_segments:
            if true.category_id in STUFF and not true.is_crowd:
                same = [p for p in pair.predicted_segments if p.category_id == true.category_id]
                overlaps[true.category_id].append(sum(image.iou(true, predicted) for predicted in same))
    quality = compute(PanopticQuality, pairs)
    things = {row.category.id: row.pq for row in quality.per_class if row.category.is_thing}
    check_means(compute(PQDagger, pairs), things | {i: np.mean(values) for i, values in overlaps.items()})


def test_covering_is_the_best_iou_weighted_by_area(pairs):
    areas, best = defaultdict(list), defaultdict(list)
    for pair in pairs:
        image = SlowImage(pair)
        for true in pair.truth_segments:
            if not true.is_crowd:
                same = [p for p in pair.predicted_segments if p.category_id == true.category_id]
                areas[true.category_id].append(len(image.of_truth(true)))
                best[true.category_id].append(max((image.iou(true, p) for p in same), default=0))
    check_means(compute(ParsingCovering, pairs), {i: np.average(best[i], weights=areas[i]) for i in areas})


@pytest.mark.parametrize("kind", [PQDagger, ParsingCovering])
def test_what_is_predicted_without_being_there(kind):
    """Stuff in no truth has no number; nor has a thing for covering, while panoptic quality counts it as wrong."""
    truth, predicted = np.full((1, 4), 1, np.int32), np.array([[1, 1, 2, 3]], np.int32)
    segments = [Segment(1, 41, False, 1.0, 2), Segment(2, 50, False, 1.0, 1), Segment(3, 9, True, 1.0, 1)]
    result = compute(kind, [ImagePair(1, truth, [SegmentRecord(1, 41, False, 4, (0, 0, 0, 0))], predicted, segments)])
    assert result.per_class == ({41: 0.5, 9: 0.0} if kind is PQDagger else {41: 0.5})
    assert result.stuff == 0.5


@pytest.mark.parametrize("kind", [PQDagger, ParsingCovering])
def test_nothing_at_all_is_zero_and_says_so(kind):
    result = kind(CATEGORIES).compute()
    assert (result.all, result.things, result.stuff) == (0, 0, 0)
    assert result.notes[0] == "no category is there to be averaged: 0"
    assert len(result.notes) == 3
