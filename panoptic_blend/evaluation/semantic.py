"""Mean intersection over union of panoptic maps read as semantic ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.coco.counting import count_pairs
from panoptic_blend.evaluation.pq import PredictedSegment
from panoptic_blend.structures import IdMap


class MeanIoU:
    """A confusion matrix over all categories, things and stuff, summed image by image.

    Void and crowd pixels of the truth are left out, as in training; a void prediction on any other pixel is wrong.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self._order = {category.id: position for position, category in enumerate(categories)}
        # Last column: predicted void.
        self._confusion = np.zeros((len(categories), len(categories) + 1), np.int64)

    def update(
        self,
        truth_ids: IdMap,
        truth_segments: Sequence[SegmentRecord],
        predicted_ids: IdMap,
        predicted_segments: Sequence[PredictedSegment],
    ) -> None:
        """Add one image.

        Args:
            truth_ids: [H, W]; ids that `truth_segments` does not list count as void.
            predicted_ids: [H, W]; likewise.
        """
        row_of = {s.id: self._order[s.category_id] for s in truth_segments if not s.is_crowd}
        column_of = {s.id: self._order[s.category_id] for s in predicted_segments}
        void = len(self.categories)
        for truth, predicted, pixels in zip(*count_pairs(truth_ids, predicted_ids), strict=True):
            if int(truth) in row_of:
                self._confusion[row_of[int(truth)], column_of.get(int(predicted), void)] += pixels

    def compute(self) -> dict[str, Any]:
        """Mean IoU over the categories in truth or prediction, and the share of right pixels, in 0..1.

        Returns:
            `mIoU`, `pixel_accuracy`, `per_class` {category id: IoU} of the categories present, and `notes`.
        """
        right = np.diagonal(self._confusion)
        union = self._confusion.sum(axis=1) + self._confusion[:, :-1].sum(axis=0) - right
        per_class = {
            category.id: float(right[i] / union[i]) for i, category in enumerate(self.categories) if union[i] > 0
        }
        pixels = int(self._confusion.sum())
        return {
            "mIoU": sum(per_class.values()) / len(per_class) if per_class else 0.0,
            "pixel_accuracy": float(right.sum() / pixels) if pixels else 0.0,
            "per_class": per_class,
            "notes": [] if pixels else ["the truth has no labelled pixel: mIoU is 0"],
        }
