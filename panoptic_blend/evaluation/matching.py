"""Which segments of two panoptic maps match (Kirillov et al., Panoptic Segmentation, 2019, sec. 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.errors import DatasetError

VOID = 0

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class PredictedSegment(Protocol):
    """What scoring needs to know of a predicted segment."""

    @property
    def id(self) -> int:
        """Value of its pixels in the id map."""

    @property
    def category_id(self) -> int:
        """Dataset category id."""

    @property
    def score(self) -> float | None:
        """Confidence of a thing in 0..1, None where it is not known; read by `Calibration` alone."""


@dataclass(frozen=True, eq=False)
class Matching:
    """Segments of one image, ascending by their ids, and which of them match (Panoptic Segmentation, sec. 4.1).

    A predicted and a true segment of one category match when their IoU, void pixels of the truth left out, is above
    1/2. Crowd segments are never missed, and a predicted segment that lies by more than half in void or in its
    category's crowd is no false positive.

    Attributes:
        truth: T segments.
        predicted: P segments.
        truth_areas: [T] pixels; the truth's own `area` where it says one, as panopticapi does.
        predicted_areas: [P] pixels in the map.
        wrong_areas: true segments whose `area` is not their number of pixels.
        matched_truth, matched_predicted: [M] positions of the segments that match, ascending by the true one.
        iou: [M] of those.
        missed: [T] true segments that count as false negatives.
        surplus: [P] predicted segments that count as false positives.
        excused: [P] predicted segments that lie by more than half in void or crowd.
        void_pixels: [P] pixels that the truth leaves void.
        met_truth, met_predicted: [N] positions of all segments that share pixels, crowds and other categories
            included, ascending by the true one.
        met_pixels: [N] how many they share.
        met_iou: [N] of those.
    """

    truth: Sequence[SegmentRecord]
    predicted: Sequence[PredictedSegment]
    truth_areas: Int64s
    predicted_areas: Int64s
    wrong_areas: int
    matched_truth: Int64s
    matched_predicted: Int64s
    iou: npt.NDArray[np.float64]
    missed: Bools
    surplus: Bools
    excused: Bools
    void_pixels: Int64s
    met_truth: Int64s
    met_predicted: Int64s
    met_pixels: Int64s
    met_iou: npt.NDArray[np.float64]


def match(
    truth_segments: Sequence[SegmentRecord],
    predicted_segments: Sequence[PredictedSegment],
    overlaps: tuple[Int64s, Int64s, Int64s],
    source: str,
) -> Matching:
    """Match the segments of one image.

    Args:
        overlaps: true ids [N], predicted ids [N], and on how many pixels [N] the two meet; ascending by the ids.
        source: what error messages call the image.

    Raises:
        DatasetError: predicted segments and `overlaps` do not list the same ids, or a true segment has less 'area'
            than pixels in common with a predicted one.
    """
    truth_pair, predicted_pair, pixels = overlaps
    truth = sorted(truth_segments, key=lambda segment: segment.id)
    predicted = sorted(predicted_segments, key=lambda segment: segment.id)
    truth_category, predicted_category = (
        np.array([segment.category_id for segment in segments], np.int64) for segments in (truth, predicted)
    )
    predicted_area = _predicted_areas(predicted, predicted_pair, pixels, source)
    crowd = np.array([segment.is_crowd for segment in truth], bool)

    # Position of each pair's segments, -1 for void (and, in the truth, for ids nobody lists).
    t = positions(truth_pair, [segment.id for segment in truth])
    p = positions(predicted_pair, [segment.id for segment in predicted])
    truth_area, wrong_areas = _truth_areas(truth, t, pixels)
    void = np.zeros(len(predicted), np.int64)
    in_void = (truth_pair == VOID) & (p >= 0)
    void[p[in_void]] = pixels[in_void]

    both = (t >= 0) & (p >= 0)
    t, p, pixels = t[both], p[both], pixels[both]
    same = truth_category[t] == predicted_category[p]
    _check_overlaps(truth, truth_area, t, pixels, source)
    iou = pixels / (truth_area[t] + predicted_area[p] - pixels - void[p])
    matches = same & ~crowd[t] & (iou > 0.5)
    missed = ~crowd
    missed[t[matches]] = False

    # panopticapi excuses by one crowd segment per category: the last in the file.
    crowd_of = {s.category_id: s.id for s in truth_segments if s.is_crowd}
    last_crowd = np.array([crowd_of.get(s.category_id) == s.id for s in truth], bool)
    in_crowd = last_crowd[t] & same
    ignored = void.copy()
    np.add.at(ignored, p[in_crowd], pixels[in_crowd])
    excused = ignored / predicted_area > 0.5
    surplus = ~excused
    surplus[p[matches]] = False
    return Matching(
        truth=truth,
        predicted=predicted,
        truth_areas=truth_area,
        predicted_areas=predicted_area,
        wrong_areas=wrong_areas,
        matched_truth=t[matches],
        matched_predicted=p[matches],
        iou=iou[matches],
        missed=missed,
        surplus=surplus,
        excused=excused,
        void_pixels=void,
        met_truth=t,
        met_predicted=p,
        met_pixels=pixels,
        met_iou=iou,
    )


def _predicted_areas(segments: Sequence[PredictedSegment], ids: Int64s, pixels: Int64s, source: str) -> Int64s:
    listed = np.array([segment.id for segment in segments], np.int64)
    painted = np.unique(ids[ids != VOID])
    if not np.array_equal(listed, painted):
        only_map = sorted(set(painted.tolist()) - set(listed.tolist()))
        only_list = sorted(set(listed.tolist()) - set(painted.tolist()))
        raise DatasetError(
            f"{source}: predicted segments and id map differ: ids {only_map} are in the map alone, ids {only_list} "
            "in the list alone, and no id may be listed twice. List exactly the ids that have pixels."
        )
    areas = np.zeros(len(listed), np.int64)
    np.add.at(areas, np.searchsorted(listed, ids[ids != VOID]), pixels[ids != VOID])
    return areas


def _truth_areas(segments: Sequence[SegmentRecord], positions: Int64s, pixels: Int64s) -> tuple[Int64s, int]:
    counted = np.zeros(len(segments), np.int64)
    np.add.at(counted, positions[positions >= 0], pixels[positions >= 0])
    said = np.array([segment.area for segment in segments], np.int64)
    areas = np.where(said < 0, counted, said)
    return areas, int((areas != counted).sum())


def _check_overlaps(
    segments: Sequence[SegmentRecord], areas: Int64s, positions: Int64s, pixels: Int64s, source: str
) -> None:
    wrong = np.flatnonzero(pixels > areas[positions])
    if len(wrong):
        segment = segments[positions[wrong[0]]]
        raise DatasetError(
            f"{source}: true segment {segment.id} has area {segment.area} in the JSON of the truth, yet "
            f"{pixels[wrong[0]]} of its pixels meet one predicted segment. Write its number of pixels, or leave "
            "'area' out."
        )


def positions(values: Int64s, ids: Sequence[int]) -> Int64s:
    """Where each value [N] stands in the ascending list `ids`, -1 if nowhere."""
    if not ids:
        return np.full(len(values), -1, np.int64)
    sorted_ids = np.array(ids, np.int64)
    found = np.minimum(np.searchsorted(sorted_ids, values), len(ids) - 1)
    return np.where(sorted_ids[found] == values, found, -1)
