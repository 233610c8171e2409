from collections import Counter

import numpy as np
import pytest

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.evaluation.sizes import PQBySize
from panoptic_blend.structures import Segment

from .random_maps import CATEGORIES, random_pair
from .slow import SlowImage

RESULTS = "small", "medium", "large"


def size_of(pixels):
    return "small" if pixels < 1024 else "medium" if pixels < 9216 else "large"


def test_equals_sorting_each_match_and_miss_by_its_area():
    rng = np.random.default_rng(0)
    metric, whole, expected = PQBySize(CATEGORIES), PanopticQuality(CATEGORIES), Counter()
    for number in range(60):
        pair = random_pair(rng, number, [(30, 33), (60, 60), (200, 180)][number % 3])
        metric.update(pair)
        whole.update(pair)
        image = SlowImage(pair)
        for true, _, iou in image.matches:
            size = size_of(len(image.of_truth(true)))
            expected[size, true.category_id, "tp"] += 1
            expected[size, true.category_id, "iou"] += iou
        for true in image.missed:
            expected[size_of(len(image.of_truth(true))), true.category_id, "fn"] += 1
        for predicted in image.surplus:
            expected[size_of(len(image.of_prediction(predicted))), predicted.category_id, "fp"] += 1
    result = metric.compute()
    for size in RESULTS:
        for row in getattr(result, size).per_class:
            for name in ("tp", "fp", "fn", "iou"):
                assert getattr(row, name) == pytest.approx(expected[size, row.category.id, name], abs=1e-12)
        assert sum(row.tp for row in getattr(result, size).per_class) > 0
    for name in ("tp", "fp", "fn", "iou"):
        np.testing.assert_allclose(metric.state()[name].sum(axis=0), whole.state()[name])


def square(pixels):
    """A true and a predicted segment that are the same, of so many pixels."""
    ids = np.zeros((100, 100), np.int32)
    ids.ravel()[:pixels] = 5
    return ImagePair(
        1, ids, [SegmentRecord(5, 1, False, pixels, (0, 0, 0, 0))], ids, [Segment(5, 1, True, 1.0, pixels)]
    )


@pytest.mark.parametrize(
    ("pixels", "size"), [(1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large"), (1, "small")]
)
def test_limits_belong_to_the_larger_size_and_the_others_say_that_nothing_is_there(pixels, size):
    metric = PQBySize(CATEGORIES)
    metric.update(square(pixels))
    result = metric.compute()
    assert {name: getattr(result, name).all.n for name in RESULTS} == {name: int(name == size) for name in RESULTS}
    for name in set(RESULTS) - {size}:
        assert f"{name}: no category is in truth or prediction: its PQ is 0" in result.notes


def test_a_match_has_the_size_of_the_truth_even_as_its_json_says_it():
    ids = np.zeros((40, 40), np.int32)
    ids[:25] = 5  # 1,000 pixels
    metric = PQBySize(CATEGORIES)
    metric.update(
        ImagePair(1, ids, [SegmentRecord(5, 1, False, 1030, (0, 0, 0, 0))], ids, [Segment(5, 1, True, 1, 1000)])
    )
    assert metric.compute().medium.all.pq == 1000 / 1030
