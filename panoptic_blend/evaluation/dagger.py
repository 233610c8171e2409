"""PQ-dagger: panoptic quality with stuff judged by IoU (Porzi et al., Seamless Scene Segmentation, 2019, sec. 4)."""

from __future__ import annotations

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.category_means import CategoryMeans, average
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.metric import Sums


class PQDagger(Sums):
    """Panoptic quality for things; for stuff, IoU without the limit of 1/2.

    A stuff category's number is the sum of the IoU of its true segments with all predicted segments of the category,
    divided by the number of true segments. Where an image has one of each at most, as is usual, that is the mean IoU
    over the images that have it. Stuff that is in no truth is left out.

    State: `overlap` and `segments`, float64 [C]: the sum of IoU, and what it is divided by.
    """

    def __init__(self, categories: Categories):
        super().__init__(categories, overlap=np.zeros(len(categories)), segments=np.zeros(len(categories)))
        self._is_thing = np.array([category.is_thing for category in categories], bool)

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        matching, overlap, segments = pair.matching, self._sums["overlap"], self._sums["segments"]
        truth = category_positions(matching.truth, self.categories, pair.source)
        predicted = category_positions(matching.predicted, self.categories, pair.source)
        scored = np.array([not segment.is_crowd for segment in matching.truth], bool)

        t, p = matching.met_truth, matching.met_predicted
        stuff = scored[t] & (truth[t] == predicted[p]) & ~self._is_thing[truth[t]]
        np.add.at(overlap, truth[t[stuff]], matching.met_iou[stuff])
        np.add.at(segments, truth[scored & ~self._is_thing[truth]], 1)

        matched = truth[matching.matched_truth]
        things = self._is_thing[matched]
        np.add.at(overlap, matched[things], matching.iou[things])
        np.add.at(segments, matched[things], 1)
        for unmatched in (truth[matching.missed], predicted[matching.surplus]):
            np.add.at(segments, unmatched[self._is_thing[unmatched]], 0.5)

    def compute(self) -> CategoryMeans:
        """PQ-dagger of all images so far."""
        overlap, segments = self._sums["overlap"], self._sums["segments"]
        present = np.flatnonzero(segments).tolist()
        return average(self.categories, {self.categories[i].id: float(overlap[i] / segments[i]) for i in present})
