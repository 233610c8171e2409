"""Panoptic quality of small, medium and large segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.metric import Sums
from panoptic_blend.evaluation.pq_result import PQResult, summarize

SIZES = "small", "medium", "large"
LIMITS = 32**2, 96**2
"""Pixels from which a segment is medium, and large: COCO's areas."""


@dataclass(frozen=True)
class PQBySizeResult:
    """Panoptic quality of segments below 32 x 32 pixels, below 96 x 96, and of the others."""

    small: PQResult
    medium: PQResult
    large: PQResult

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know."""
        results = zip(SIZES, (self.small, self.medium, self.large), strict=True)
        return tuple(f"{size}: {note}" for size, result in results for note in result.notes)


class PQBySize(Sums):
    """Splits what panoptic quality counts by the area of segments.

    A match and a missed segment have the size of the true segment, a false positive has its own. So the counts of
    the three sizes add up to those of all segments.

    State: `tp`, `fp`, `fn` int64 [3, C] and `iou` float64 [3, C], by size and category.
    """

    def __init__(self, categories: Categories):
        shape = len(SIZES), len(categories)
        tp, fp, fn = (np.zeros(shape, np.int64) for _ in range(3))
        super().__init__(categories, iou=np.zeros(shape), tp=tp, fp=fp, fn=fn)

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        matching = pair.matching
        # The row and column of every segment in the sums.
        truth = np.array(
            [
                np.searchsorted(LIMITS, matching.truth_areas, side="right"),
                category_positions(matching.truth, self.categories, pair.source),
            ]
        )
        predicted = np.array(
            [
                np.searchsorted(LIMITS, matching.predicted_areas, side="right"),
                category_positions(matching.predicted, self.categories, pair.source),
            ]
        )
        matched = tuple(truth[:, matching.matched_truth])
        np.add.at(self._sums["iou"], matched, matching.iou)
        np.add.at(self._sums["tp"], matched, 1)
        np.add.at(self._sums["fn"], tuple(truth[:, matching.missed]), 1)
        np.add.at(self._sums["fp"], tuple(predicted[:, matching.surplus]), 1)

    def compute(self) -> PQBySizeResult:
        """Panoptic quality of each size, of all images so far."""
        columns = (self._sums[name] for name in ("iou", "tp", "fp", "fn"))
        return PQBySizeResult(*(summarize(self.categories, *rows) for rows in zip(*columns, strict=True)))
