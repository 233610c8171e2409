"""Truth and prediction of one image: what every metric is given, and what several of them need of it, found once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.coco.counting import count_pairs
from panoptic_blend.coco.images import EvaluationSample
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.matching import VOID, Int64s, Matching, PredictedSegment, match
from panoptic_blend.structures import IdMap


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
        stuff: int [H, W] labels of the semantic branch, 0 = a thing, 1..S = stuff, for `MergeSweep`; None when the
            panoptic map is all there is.
        video_id, frame_id: of which film it is which frame; None where it is of none.
    """

    image_id: int | str
    truth_ids: IdMap
    truth_segments: Sequence[SegmentRecord]
    predicted_ids: IdMap
    predicted_segments: Sequence[PredictedSegment]
    detections: Detections | None = None
    source: str = ""
    stuff: npt.NDArray[np.integer] | None = None
    video_id: int | str | None = None
    frame_id: int | None = None

    @staticmethod
    def of(
        sample: EvaluationSample,
        predicted_ids: IdMap,
        predicted_segments: Sequence[PredictedSegment],
        detections: Detections | None = None,
        stuff: npt.NDArray[np.integer] | None = None,
    ) -> ImagePair:
        """An image that was read with its truth, and what was predicted for it."""
        record, truth = sample.record, sample.id_map
        assert truth is not None
        predicted = predicted_ids, predicted_segments, detections
        return ImagePair(record.image_id, truth, record.segments, *predicted, record.file_name, stuff)

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
        return match(self.truth_segments, self.predicted_segments, self.overlaps, self.source)


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
