"""Which category takes which category's pixels and segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.matching import Int64s, Matching, positions
from panoptic_blend.evaluation.metric import Sums


@dataclass(frozen=True)
class Confused:
    """What one category of the truth and one of the prediction have in common.

    Attributes:
        truth: category id; None for pixels that are void or crowd, and for segments that are on nothing.
        predicted: category id; None for void pixels, and for segments that nothing was found of.
        pixels: that are `truth` in the truth, and `predicted` in the prediction.
        segments: pairs of segments with an IoU above 1/2, or single segments where one of the two is None.
    """

    truth: int | None
    predicted: int | None
    pixels: int
    segments: int


@dataclass(frozen=True)
class ConfusionResult:
    """Everything that occurs in the two tables, in the categories' order, None last; right answers included."""

    rows: tuple[Confused, ...]
    notes: tuple[str, ...] = ()


class PanopticConfusion(Sums):
    """A table of pixels and a table of segments, by true and predicted category.

    A missed true segment and a false positive that overlap by an IoU above 1/2 (void left out), and so are of different
    categories, are confused. Other missed segments are taken by nothing, and other false positives take nothing. So the
    segments of a true category are its true positives and its false negatives, those of a predicted category its
    true and its false positives, and the diagonal is the true positives.

    State: `pixels` and `segments`, int64 [C + 1, C + 1] by true and predicted category. The last row and column are
    void (of the truth, its crowds too), or nothing.
    """

    def __init__(self, categories: Categories):
        shape = len(categories) + 1, len(categories) + 1
        super().__init__(categories, pixels=np.zeros(shape, np.int64), segments=np.zeros(shape, np.int64))

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        matching, nothing = pair.matching, len(self.categories)
        truth = category_positions(matching.truth, self.categories, pair.source)
        predicted = category_positions(matching.predicted, self.categories, pair.source)

        # Void, crowds and ids that nobody lists are nothing.
        crowd = np.array([segment.is_crowd for segment in matching.truth], bool)
        scored, all_predicted = np.append(np.where(crowd, nothing, truth), nothing), np.append(predicted, nothing)
        rows = scored[positions(pair.overlaps[0], [segment.id for segment in matching.truth])]
        columns = all_predicted[positions(pair.overlaps[1], [segment.id for segment in matching.predicted])]
        np.add.at(self._sums["pixels"], (rows, columns), pair.overlaps[2])

        segments = self._sums["segments"]
        matched = truth[matching.matched_truth]
        np.add.at(segments, (matched, matched), 1)
        confused_truth, confused_predicted = confused_pairs(matching)
        np.add.at(segments, (truth[confused_truth], predicted[confused_predicted]), 1)
        missed, surplus = matching.missed.copy(), matching.surplus.copy()
        missed[confused_truth] = False
        surplus[confused_predicted] = False
        np.add.at(segments, (truth[missed], nothing), 1)
        np.add.at(segments, (nothing, predicted[surplus]), 1)

    def compute(self) -> ConfusionResult:
        """Both tables of all images so far."""
        pixels, segments = self._sums["pixels"], self._sums["segments"]
        names = [*(category.id for category in self.categories), None]
        places = np.argwhere((pixels > 0) | (segments > 0)).tolist()
        rows = (Confused(names[t], names[p], int(pixels[t, p]), int(segments[t, p])) for t, p in places)
        return ConfusionResult(tuple(rows))


def confused_pairs(matching: Matching) -> tuple[Int64s, Int64s]:
    """Positions of missed true segments and of the false positives that overlap them by an IoU above 1/2.

    No segment is in two pairs, unless the truth says of a segment that it has fewer pixels than it has: then the first.
    """
    t, p = matching.met_truth, matching.met_predicted
    confused = np.flatnonzero((matching.met_iou > 0.5) & matching.missed[t] & matching.surplus[p])
    _, first = np.unique(t[confused], return_index=True)
    return t[confused[first]], p[confused[first]]
