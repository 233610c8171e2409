"""Mean intersection over union of panoptic maps read as semantic ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.metric import Sums


@dataclass(frozen=True)
class MeanIoUResult:
    """Mean IoU over the categories in truth or prediction, and the share of right pixels, in 0..1.

    Attributes:
        per_class: {category id: IoU} of the categories present.
        notes: what a reader of the numbers must know.
    """

    miou: float
    pixel_accuracy: float
    per_class: Mapping[int, float]
    notes: tuple[str, ...] = ()


class MeanIoU(Sums):
    """A confusion matrix over all categories, things and stuff, summed image by image.

    Void and crowd pixels of the truth are left out, as in training; a void prediction on any other pixel is wrong.

    State: `confusion`, int64 [C, C + 1] pixels by true and predicted category, the last column predicted void.
    """

    def __init__(self, categories: Categories):
        super().__init__(categories, confusion=np.zeros((len(categories), len(categories) + 1), np.int64))

    def update(self, pair: ImagePair) -> None:
        """Add one image; ids that its segments do not list count as void.

        Raises:
            DatasetError: sizes differ, or an unknown category.
        """
        void = len(self.categories)
        labelled = [segment for segment in pair.truth_segments if not segment.is_crowd]
        rows = category_positions(labelled, self.categories, pair.source).tolist()
        columns = category_positions(pair.predicted_segments, self.categories, pair.source).tolist()
        row_of = {segment.id: row for segment, row in zip(labelled, rows, strict=True)}
        column_of = {segment.id: column for segment, column in zip(pair.predicted_segments, columns, strict=True)}
        confusion = self._sums["confusion"]
        for truth, predicted, pixels in zip(*(column.tolist() for column in pair.overlaps), strict=True):
            if truth in row_of:
                confusion[row_of[truth], column_of.get(predicted, void)] += pixels

    def compute(self) -> MeanIoUResult:
        """Mean IoU of all images so far; 0, and noted, when no pixel is labelled."""
        confusion = self._sums["confusion"]
        right = np.diagonal(confusion)
        union = confusion.sum(axis=1) + confusion[:, :-1].sum(axis=0) - right
        per_class = {
            category.id: float(right[i] / union[i]) for i, category in enumerate(self.categories) if union[i] > 0
        }
        pixels = int(confusion.sum())
        return MeanIoUResult(
            miou=sum(per_class.values()) / len(per_class) if per_class else 0.0,
            pixel_accuracy=float(right.sum() / pixels) if pixels else 0.0,
            per_class=per_class,
            notes=() if pixels else ("the truth has no labelled pixel: mIoU is 0",),
        )
