from collections import Counter, defaultdict

import numpy as np
import pytest

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.evaluation.thing_errors import KINDS, ThingErrors
from panoptic_blend.structures import Segment

from .random_maps import CATEGORIES, random_pair
from .slow import SlowImage

THINGS = {category.id for category in CATEGORIES.things}


def slow_kinds(image):
    """Kind and true segment of every surplus thing, and the true things that are missed, from sets of pixels."""
    truth = [true for true in image.truth if true.category_id in THINGS and not true.is_crowd]
    missed_ids = {true.id for true in image.missed}

    def is_on(predicted, true):
        a, b = image.of_truth(true), image.of_prediction(predicted) - image.void
        return len(a & b) > len(b) / 2 or image.iou(true, predicted) >= 0.1

    found, explained = {}, set()
    for predicted in image.surplus:
        if predicted.category_id not in THINGS:
            continue
        others = [true for true in truth if true.category_id != predicted.category_id]
        confused = [true for true in others if true.id in missed_ids and image.iou(true, predicted) > 0.5]
        own = [t for t in truth if t.category_id == predicted.category_id and is_on(predicted, t)]
        if confused:
            found[predicted.id] = "wrong_class", confused[0]
        elif own:
            # Most pixels in common; of equal ones, the smallest id.
            best = max(own, key=lambda t: (len(image.of_truth(t) & image.of_prediction(predicted)), -t.id))
            found[predicted.id] = "poor_mask" if best.id in missed_ids else "duplicate", best
        elif any(is_on(predicted, true) for true in others):
            found[predicted.id] = "wrong_class_and_poor_mask", None
        else:
            found[predicted.id] = "background", None
        if found[predicted.id][0] in ("wrong_class", "poor_mask"):
            explained.add(found[predicted.id][1].id)
    missed = [true for true in image.missed if true.category_id in THINGS and true.id not in explained]
    return found, missed


def slow_pq(counts):
    """The mean over the thing categories that occur, of [sum of IoU, tp, fp, fn] each."""
    present = [row for row in counts.values() if sum(row[1:])]
    return sum(iou / (tp + fp / 2 + fn / 2) for iou, tp, fp, fn in present) / len(present)


def put_right(images, kind):
    """The counts of things when no error of this kind (or of none, None) had been made: predicted again by hand."""
    counts = defaultdict(lambda: [0.0, 0, 0, 0])
    for image in images:
        found, missed = slow_kinds(image)
        matched = {true.id: iou for true, _, iou in image.matches}
        gone = {i for i, (name, _) in found.items() if name == kind}
        for predicted in image.surplus:
            if predicted.id in gone and kind in ("wrong_class", "poor_mask"):
                true = found[predicted.id][1]
                matched[true.id] = 1 if kind == "poor_mask" else image.iou(true, predicted)
            elif predicted.category_id in THINGS and predicted.id not in gone:
                counts[predicted.category_id][2] += 1
        excused = {true.id for true in missed} if kind == "missed" else set()
        for true in image.truth:
            if true.category_id not in THINGS or true.is_crowd or true.id in excused:
                continue
            row = counts[true.category_id]
            row[0] += matched.get(true.id, 0)
            row[1 if true.id in matched else 3] += 1
    return counts


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    return [random_pair(rng, number) for number in range(250)]


def test_kinds_and_costs_equal_predicting_again_by_hand(pairs):
    metric, number = ThingErrors(CATEGORIES), defaultdict(Counter)
    images = [SlowImage(pair) for pair in pairs]
    for pair, image in zip(pairs, images, strict=True):
        metric.update(pair)
        found, missed = slow_kinds(image)
        for predicted in image.surplus:
            if predicted.id in found:
                number[found[predicted.id][0]][predicted.category_id] += 1
        for true in missed:
            number["missed"][true.category_id] += 1
    now = slow_pq(put_right(images, None))
    errors = metric.compute().errors
    assert [error.kind for error in errors] == list(KINDS)
    for error in errors:
        assert error.per_class == number[error.kind], error.kind
        assert error.segments == sum(number[error.kind].values()) > 0
        assert error.cost == pytest.approx(slow_pq(put_right(images, error.kind)) - now, abs=1e-12), error.kind


def test_every_false_positive_among_things_is_one_error(pairs):
    metric, quality = ThingErrors(CATEGORIES), PanopticQuality(CATEGORIES)
    for pair in pairs:
        metric.update(pair)
        quality.update(pair)
    things = [category.is_thing for category in CATEGORIES]
    for name, values in quality.state().items():
        if name != "wrong_areas":
            np.testing.assert_allclose(metric.state()[name][0], np.where(things, values, 0))
    np.testing.assert_array_equal(
        metric.state()["segments"][:-1].sum(axis=0), np.where(things, quality.state()["fp"], 0)
    )


ROW = [5] * 10 + [6] * 10 + [7] * 10  # two things of category 9, and stuff
TRUTH = [SegmentRecord(5, 9, False, 10, (0,) * 4), SegmentRecord(6, 9, False, 10, (0,) * 4)]
TRUTH += [SegmentRecord(7, 50, False, 10, (0,) * 4)]


@pytest.mark.parametrize(
    ("predicted", "categories", "kinds", "costs"),
    [
        ([1] * 10 + [2] * 10 + [3] * 10, {1: 9, 2: 9, 3: 50}, {}, {}),
        # 6 of 10 pixels as another thing: PQ is (1 of 1.5, 0) on average; put right, 1.6 of 2 of one category.
        ([1] * 10 + [2] * 6 + [0] * 14, {1: 9, 2: 33}, {"wrong_class": 1}, {"wrong_class": 0.8 - 1 / 3}),
        ([1] * 10 + [2] * 4 + [0] * 16, {1: 9, 2: 9}, {"poor_mask": 1}, {"poor_mask": 1 - 0.5}),
        ([1] * 10 + [2] * 4 + [0] * 16, {1: 9, 2: 33}, {"wrong_class_and_poor_mask": 1, "missed": 1}, {}),
        (
            [1] * 6 + [2] * 4 + [3] * 10 + [0] * 10,
            {1: 9, 2: 9, 3: 9},
            {"duplicate": 1},
            {"duplicate": 1.6 / 2 - 1.6 / 2.5},
        ),
        ([1] * 10 + [2] * 10 + [3] * 10, {1: 9, 2: 9, 3: 33}, {"background": 1}, {"background": 0.5}),
        ([1] * 10 + [0] * 20, {1: 9}, {"missed": 1}, {"missed": 1 - 1 / 1.5}),
        # A sliver of the missed one is a poor mask of it; so are two, and only one of them can be put right.
        ([1] * 10 + [2, 3] + [0] * 18, {1: 9, 2: 9, 3: 9}, {"poor_mask": 2}, {"poor_mask": 1 - 1 / 2.5}),
    ],
)
def test_what_each_kind_looks_like(predicted, categories, kinds, costs):
    segments = [Segment(i, c, c in THINGS, 1.0, predicted.count(i)) for i, c in categories.items()]
    metric = ThingErrors(CATEGORIES)
    metric.update(ImagePair(1, np.array([ROW], np.int32), TRUTH, np.array([predicted], np.int32), segments))
    errors = {error.kind: error for error in metric.compute().errors}
    assert {kind: error.segments for kind, error in errors.items() if error.segments} == kinds
    assert {kind: errors[kind].cost for kind in costs} == pytest.approx(costs)
    assert all(errors[kind].cost == 0 for kind in KINDS if kind not in kinds)
