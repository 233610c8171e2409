"""Parsing covering: how well the truth is covered, by area (Yang et al., DeeperLab, 2019, sec. 4)."""

from __future__ import annotations

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.category_means import CategoryMeans, average
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.metric import Sums


class ParsingCovering(Sums):
    """The IoU of every true segment with the predicted segment of its category that fits best, weighted by its area.

    There is no limit to the IoU, and predicted segments that fit nothing cost nothing. Large segments count more, which
    suits pictures whose near objects matter most. Crowds are left out.

    State: `covered` and `area`, float64 [C]: the sums of area times IoU, and of areas, in pixels.
    """

    def __init__(self, categories: Categories):
        super().__init__(categories, covered=np.zeros(len(categories)), area=np.zeros(len(categories)))

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        matching = pair.matching
        truth = category_positions(matching.truth, self.categories, pair.source)
        predicted = category_positions(matching.predicted, self.categories, pair.source)
        t, p = matching.met_truth, matching.met_predicted
        same = truth[t] == predicted[p]
        best = np.zeros(len(truth))
        np.maximum.at(best, t[same], matching.met_iou[same])
        areas = np.where([segment.is_crowd for segment in matching.truth], 0, matching.truth_areas)
        np.add.at(self._sums["covered"], truth, areas * best)
        np.add.at(self._sums["area"], truth, areas)

    def compute(self) -> CategoryMeans:
        """Parsing covering of all images so far; categories that are in no truth are left out."""
        covered, area = self._sums["covered"], self._sums["area"]
        present = np.flatnonzero(area).tolist()
        return average(self.categories, {self.categories[i].id: float(covered[i] / area[i]) for i in present})
