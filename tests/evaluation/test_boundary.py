import contextlib
import io
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.boundary import BoundaryPQ, boundary_width, find_boundaries
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.structures import Segment

from .random_maps import CATEGORIES, random_ids, random_pair
from .slow import SlowImage
from .test_pq import assert_counts_equal, write_random_set


def erode(mask, times):
    """Keep pixels whose eight neighbours are there, again and again; outside of the picture nothing is."""
    for _ in range(times):
        padded = np.pad(mask, 1)
        height, width = mask.shape
        shifted = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        mask = np.logical_and.reduce(shifted)
    return mask


class SlowBoundaries(SlowImage):
    """Matches by the smaller one of both IoU, one mask a segment."""

    def __init__(self, pair):
        self._boundaries = {
            (is_true, i): set(np.flatnonzero(mask & ~erode(mask, boundary_width(mask.shape))).tolist())
            for is_true, ids in ((True, pair.truth_ids), (False, pair.predicted_ids))
            for i in np.unique(ids).tolist()
            for mask in [ids == i]
        }
        super().__init__(pair)

    def iou(self, true, predicted):
        a, b = self._boundaries[True, true.id], self._boundaries[False, predicted.id]
        return min(super().iou(true, predicted), len(a & b) / len(a | (b - self.void)))


def shifted_pair(rng, number, size):
    """Rectangles, predicted a few pixels beside where they are; void and a crowd here and there."""
    truth = random_ids(rng, size, 4)
    shift = rng.integers(0, 4, 2)
    predicted = np.pad(truth, ((shift[0], 0), (shift[1], 0)), mode="edge")[: size[0], : size[1]]
    if rng.random() < 0.5:
        truth[: size[0] // 5] = 0
    found = [i for i in np.unique(truth).tolist() if i]
    categories = [category.id for category in CATEGORIES]
    category_of = {i: int(rng.choice(categories)) for i in np.unique([truth, predicted]).tolist()}
    true = [SegmentRecord(i, category_of[i], bool(rng.random() < 0.1), -1, (0, 0, 0, 0)) for i in found]
    segments = [Segment(i, category_of[i], True, 1.0, 1) for i in np.unique(predicted).tolist() if i]
    return ImagePair(number, truth, true, predicted, segments)


def test_equals_eroding_one_mask_after_the_other():
    rng = np.random.default_rng(0)
    metric, mask_metric = BoundaryPQ(CATEGORIES), PanopticQuality(CATEGORIES)
    tp, fp, fn, iou = Counter(), Counter(), Counter(), defaultdict(float)
    for number in range(120):
        size = [(9, 11), (60, 70), (45, 100)][number % 3]  # boundaries of 1 and 2 pixels
        pair = random_pair(rng, number, size) if number % 2 else shifted_pair(rng, number, size)
        metric.update(pair)
        mask_metric.update(pair)
        image = SlowBoundaries(pair)
        for true, _, overlap in image.matches:
            tp[true.category_id] += 1
            iou[true.category_id] += overlap
        fn.update(true.category_id for true in image.missed)
        fp.update(predicted.category_id for predicted in image.surplus)
    assert_counts_equal(metric, (tp, fp, fn, iou))
    assert 40 < sum(tp.values()) < sum(row.tp for row in mask_metric.compute().per_class)


def test_the_width_is_two_percent_of_the_diagonal_and_a_pixel_at_least():
    assert [boundary_width(size) for size in ((3, 4), (480, 640), (60, 80), (427, 640))] == [1, 16, 2, 15]


def test_a_boundary_is_seen_from_both_sides_and_at_the_end_of_the_picture():
    ids = np.zeros((9, 13), np.int32)
    ids[:, 7:] = 16777215
    expected = np.ones((9, 13), bool)
    expected[2:-2, 2:5] = False
    expected[2:-2, 9:11] = False
    np.testing.assert_array_equal(find_boundaries(ids, 2), expected)


@pytest.mark.parametrize(("shift", "matches"), [(0, True), (1, True), (5, False)])
def test_a_large_segment_must_have_the_right_outline(shift, matches):
    """Moved by 5 of 100 pixels, its mask IoU is 0.9, and its boundary of 3 pixels is elsewhere."""
    truth, predicted = np.zeros((120, 120), np.int32), np.zeros((120, 120), np.int32)
    truth[10:110, 10:110] = 1
    predicted[10 + shift : 110 + shift, 10 + shift : 110 + shift] = 1
    truth[truth == 0] = predicted[predicted == 0] = 2  # nothing is void
    true = [SegmentRecord(1, 1, False, -1, (0, 0, 0, 0)), SegmentRecord(2, 50, False, -1, (0, 0, 0, 0))]
    metric, mask_metric = BoundaryPQ(CATEGORIES), PanopticQuality(CATEGORIES)
    for each in (metric, mask_metric):
        each.update(ImagePair(1, truth, true, predicted, [Segment(1, 1, True, 1.0, 1), Segment(2, 50, False, 1.0, 1)]))
    assert mask_metric.compute().things.rq == 1
    row = metric.compute().per_class[1]
    assert (row.tp, row.fp, row.fn) == ((1, 0, 0) if matches else (0, 1, 1))
    if matches:
        assert row.iou < 1 or shift == 0


@pytest.mark.parametrize("new_id", [78, 1, 16777215])
def test_what_the_ids_are_changes_nothing(new_id):
    """78 is the largest category id + 1, which another implementation takes for its mark of what is inside."""
    truth, moved = np.full((200, 220), 5, np.int32), np.full((200, 220), 5, np.int32)
    truth[40:160, 20:190] = moved[41:161, 20:190] = new_id
    segments = [Segment(5, 50, False, 1.0, 1), Segment(new_id, 1, True, 1.0, 1)]
    true = [SegmentRecord(segment.id, segment.category_id, False, -1, (0, 0, 0, 0)) for segment in segments]
    metric = BoundaryPQ(CATEGORIES)
    metric.update(ImagePair(1, truth, true, moved, segments))
    # Frames of 6 pixels in 120 x 170, a row apart: the first lacks the second's lowest row, and the second's upper bar
    # reaches a row further down between the sides.
    frame = 120 * 170 - 108 * 158
    common = frame - 170 - 158
    assert metric.compute().per_class[1].iou == pytest.approx(common / (2 * frame - common))


def test_equals_the_reference_implementation_where_it_is_installed(tmp_path):
    """github.com/bowenc0221/boundary-iou-api, with ids that are not its mark for the inside of segments."""
    reference = pytest.importorskip("boundary_iou.coco_panoptic_api.evaluation")
    files = write_random_set(tmp_path, 60, seed=0, size=(60, 70))
    truth, predictions = (json.loads(path.read_text())["annotations"] for path in files[:2])
    with contextlib.redirect_stdout(io.StringIO()):
        stat = reference.pq_compute_single_core(
            0,
            list(zip(truth, predictions, strict=True)),
            str(tmp_path / "truth"),
            str(tmp_path / "out" / "predictions"),
            {category.id: category for category in CATEGORIES},
            "boundary",
            0.02,
        )
    metric = BoundaryPQ(CATEGORIES)
    for record, truth_ids, predicted_ids, segments in files[2]:
        metric.update(ImagePair(record.image_id, truth_ids, record.segments, predicted_ids, segments))
    expected = tuple({c.id: getattr(stat[c.id], name) for c in CATEGORIES} for name in ("tp", "fp", "fn", "iou"))
    assert_counts_equal(metric, expected)
