"""Truth and prediction of one image: what every metric is given, and what several of them need of it, found once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.coco.counting import count_pairs
from panoptic_blend.errors import DatasetError
from panoptic_blend.structures import IdMap

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


@dataclass(frozen=True)
class Detections:
    """Instances of an image that may overlap, as mask AP scores them.

    Attributes:
        scores: [N] confidences.
        labels: [N] contiguous thing labels.
        rles: [N] COCO run-length masks of the truth's size.
    """

    scores: Sequence[float] | npt.NDArray
    labels: Sequence[int] | npt.NDArray
    rles: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Truth and prediction of one image.

    Attributes:
        image_id: no two images of a data set share one.
        truth_ids: int [H, W], 0 = void.
        truth_segments: what the ids of the truth are.
        predicted_ids: int [H, W], 0 = void.
        predicted_segments: what the predicted ids are.
        detections: for mask AP; None when the panoptic map is all there is.
        source: what error messages call the image; by default "image" and its id.
    """

    image_id: int | str
    truth_ids: IdMap
    truth_segments: Sequence[SegmentRecord]
    predicted_ids: IdMap
    predicted_segments: Sequence[PredictedSegment]
    detections: Detections | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not self.source:
            object.__setattr__(self, "source", f"image {self.image_id}")

    @cached_property
    def overlaps(self) -> tuple[Int64s, Int64s, Int64s]:
        """True ids [N], predicted ids [N], and on how many pixels [N] the two meet; ascending by the ids.

        Raises:
            DatasetError: the maps differ in size.
        """
        if self.truth_ids.shape != self.predicted_ids.shape:
            (height, width), (predicted_height, predicted_width) = self.truth_ids.shape, self.predicted_ids.shape
            raise DatasetError(
                f"{self.source}: the truth is {width} x {height}, the prediction {predicted_width} x "
                f"{predicted_height} pixels. Predict at the size of the truth."
            )
        listed = tuple(
            np.array(sorted({VOID, *(segment.id for segment in segments)}), np.int64)
            for segments in (self.truth_segments, self.predicted_segments)
        )
        return count_pairs(self.truth_ids, self.predicted_ids, expected=(listed[0], listed[1]))

    @cached_property
    def matching(self) -> Matching:
        """Which true and predicted segments match, as panoptic quality defines it.

        Raises:
            DatasetError: sizes differ, predicted segments and their id map do not list the same ids, or a true
                segment has less 'area' than pixels in common with a predicted one.
        """
        return _match(self)


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


def category_positions(
    segments: Sequence[PredictedSegment] | Sequence[SegmentRecord], categories: Categories, source: str
) -> Int64s:
    """Where each segment's category stands in the list of categories, [N].

    Raises:
        DatasetError: a category that is not in the list.
    """
    for segment in segments:
        if not categories.has_id(segment.category_id):
            raise DatasetError(
                f"{source}: segment {segment.id} has category_id {segment.category_id}, which the categories of "
                "the truth do not list. Predict with the truth's categories."
            )
    return np.array([categories.position(segment.category_id) for segment in segments], np.int64)


def _match(pair: ImagePair) -> Matching:
    truth_pair, predicted_pair, pixels = pair.overlaps
    truth = sorted(pair.truth_segments, key=lambda segment: segment.id)
    predicted = sorted(pair.predicted_segments, key=lambda segment: segment.id)
    truth_category, predicted_category = (
        np.array([segment.category_id for segment in segments], np.int64) for segments in (truth, predicted)
    )
    predicted_area = _predicted_areas(predicted, predicted_pair, pixels, pair.source)
    crowd = np.array([segment.is_crowd for segment in truth], bool)

    # Position of each pair's segments, -1 for void (and, in the truth, for ids nobody lists).
    t = _positions(truth_pair, [segment.id for segment in truth])
    p = _positions(predicted_pair, [segment.id for segment in predicted])
    truth_area, wrong_areas = _truth_areas(truth, t, pixels)
    ignored = np.zeros(len(predicted), np.int64)
    in_void = (truth_pair == VOID) & (p >= 0)
    ignored[p[in_void]] = pixels[in_void]

    both = (t >= 0) & (p >= 0)
    t, p, pixels = t[both], p[both], pixels[both]
    same = truth_category[t] == predicted_category[p]
    _check_overlaps(truth, truth_area, t, pixels, pair.source)
    iou = pixels / (truth_area[t] + predicted_area[p] - pixels - ignored[p])
    match = same & ~crowd[t] & (iou > 0.5)
    missed = ~crowd
    missed[t[match]] = False

    # panopticapi excuses by one crowd segment per category: the last in the file.
    crowd_of = {s.category_id: s.id for s in pair.truth_segments if s.is_crowd}
    last_crowd = np.array([crowd_of.get(s.category_id) == s.id for s in truth], bool)
    excused = last_crowd[t] & same
    np.add.at(ignored, p[excused], pixels[excused])
    surplus = ignored / predicted_area <= 0.5
    surplus[p[match]] = False
    return Matching(
        truth, predicted, truth_area, predicted_area, wrong_areas, t[match], p[match], iou[match], missed, surplus
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


def _positions(values: Int64s, ids: Sequence[int]) -> Int64s:
    """Where each value stands in the ascending list `ids`, -1 if nowhere."""
    if not ids:
        return np.full(len(values), -1, np.int64)
    sorted_ids = np.array(ids, np.int64)
    found = np.minimum(np.searchsorted(sorted_ids, values), len(ids) - 1)
    return np.where(sorted_ids[found] == values, found, -1)
