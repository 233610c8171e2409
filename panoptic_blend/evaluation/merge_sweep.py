"""Panoptic quality as it would be with other thresholds of the merge, all of them counted in one pass."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.matching import match
from panoptic_blend.evaluation.merging import Grid, Thresholds, merge_under_all
from panoptic_blend.evaluation.metric import Sums
from panoptic_blend.evaluation.pq_result import PQResult, summarize


@dataclass(frozen=True)
class SweepResult:
    """Panoptic quality at every point of a grid.

    Attributes:
        grid: the thresholds that were tried.
        quality: of each of its `points`.
        notes: what a reader of the numbers must know.
    """

    grid: Grid
    quality: tuple[PQResult, ...]
    notes: tuple[str, ...] = ()

    def at(self, thresholds: Thresholds) -> PQResult:
        """Panoptic quality at a point of the grid."""
        return self.quality[self.grid.points.index(thresholds)]

    def best(self, own: Thresholds) -> Thresholds:
        """The point of the highest PQ; of equal ones, that with the fewest and smallest changes to `own`."""

        def merit(point: Thresholds) -> tuple[float, int, float]:
            changes = [abs(a - b) / max(a, b) for a, b in zip(astuple(point), astuple(own), strict=True) if a != b]
            return -round(self.at(point).all.pq, 9), len(changes), sum(changes)

        return min(self.grid.points, key=merit)


class MergeSweep(Sums):
    """Counts what `PanopticQuality` would count if the merge had each of a grid's thresholds.

    It takes pairs with `detections` and `stuff`; their predicted maps are not looked at.

    State: `tp`, `fp`, `fn` int64 [P, C] and `iou` float64 [P, C], by point of the grid and category.
    """

    def __init__(self, categories: Categories, grid: Grid):
        shape = len(grid.points), len(categories)
        tp, fp, fn = (np.zeros(shape, np.int64) for _ in range(3))
        super().__init__(categories, iou=np.zeros(shape), tp=tp, fp=fp, fn=fn)
        self.grid = grid

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, a truth that does not hold together, or what `merge_under_all` raises.
        """
        for merged in merge_under_all(pair, self.categories, self.grid):
            matching = match(pair.truth_segments, merged.segments, merged.overlaps, pair.source)
            truth = category_positions(matching.truth, self.categories, pair.source)
            predicted = category_positions(matching.predicted, self.categories, pair.source)
            matched = truth[matching.matched_truth]
            for category, iou in zip(matched.tolist(), matching.iou.tolist(), strict=True):
                self._sums["iou"][merged.points, category] += iou  # one by one, as `PanopticQuality` adds them
            found = {"tp": matched, "fn": truth[matching.missed], "fp": predicted[matching.surplus]}
            for name, places in found.items():
                self._sums[name][merged.points] += np.bincount(places, minlength=len(self.categories))

    def compute(self) -> SweepResult:
        """Panoptic quality of all images so far at every point."""
        columns = (self._sums[name] for name in ("iou", "tp", "fp", "fn"))
        quality = tuple(summarize(self.categories, *rows) for rows in zip(*columns, strict=True))
        return SweepResult(self.grid, quality)
