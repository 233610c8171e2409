"""What is wrong with predicted things, and what each kind of error costs (after Bolya et al., TIDE, 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.confusion import confused_pairs
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.matching import Bools, Int64s, Matching
from panoptic_blend.evaluation.metric import Sums
from panoptic_blend.evaluation.pq_result import summarize

KINDS = "wrong_class", "poor_mask", "wrong_class_and_poor_mask", "duplicate", "background", "missed"
WRONG_CLASS, POOR_MASK, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))
MIN_IOU = 0.1
"""From here on, a predicted thing is on a true one; TIDE's background threshold."""


@dataclass(frozen=True)
class ThingError:
    """One kind of error.

    Attributes:
        kind: one of `KINDS`.
        segments: how many there are: true things for "missed", else predicted ones.
        cost: by how much the PQ of things would be higher without this kind, in 0..1. Costs do not add up.
        per_class: {category id: segments}.
    """

    kind: str
    segments: int
    cost: float
    per_class: Mapping[int, int]


@dataclass(frozen=True)
class ThingErrorsResult:
    """All kinds of errors, in the order of `KINDS`."""

    errors: tuple[ThingError, ...]
    notes: tuple[str, ...] = ()


class ThingErrors(Sums):
    """Sorts the false positives and the missed segments among things into kinds, and counts PQ without each kind.

    A predicted thing is *on* a true one when their IoU is 0.1 or more, or when more than half of it lies there. The
    first of these that holds is what is wrong with a false positive:

    - wrong class: an IoU above 1/2 with a missed thing of another category. Put right, it matches that one.
    - poor mask: on things of its category, and the one it shares most pixels with is missed. Put right, that one is
      matched with an IoU of 1, and other predictions that were to match it are gone.
    - duplicate: the same, but that one is matched by another prediction. Put right, it is gone.
    - wrong class and poor mask: on things of other categories. Put right, it is gone.
    - background: on nothing. Put right, it is gone.

    A missed thing that neither a wrong class nor a poor mask explains is "missed". Put right, it is not asked for.

    State: `segments` int64 [6, C], errors by kind and category. `tp`, `fp`, `fn` int64 [7, C] and `iou` float64 [7, C]:
    the counts of things as they are, then with each kind put right.
    """

    def __init__(self, categories: Categories):
        shape = len(KINDS) + 1, len(categories)
        tp, fp, fn = (np.zeros(shape, np.int64) for _ in range(3))
        segments = np.zeros((len(KINDS), len(categories)), np.int64)
        super().__init__(categories, segments=segments, tp=tp, fp=fp, fn=fn, iou=np.zeros(shape))
        self._is_thing = np.array([category.is_thing for category in categories], bool)

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        matching = pair.matching
        truth = category_positions(matching.truth, self.categories, pair.source)
        predicted = category_positions(matching.predicted, self.categories, pair.source)
        kinds, partners, missed = find_thing_errors(matching, truth, predicted, self._is_thing)
        tp, fp, fn, iou = (self._sums[name] for name in ("tp", "fp", "fn", "iou"))

        # As it is, in every row.
        matched = self._is_thing[truth[matching.matched_truth]]
        found = truth[matching.matched_truth[matched]]
        np.add.at(tp.T, found, 1)
        np.add.at(iou.T, found, matching.iou[matched][:, None])
        np.add.at(fp.T, predicted[kinds >= 0], 1)
        np.add.at(fn.T, truth[matching.missed & self._is_thing[truth]], 1)

        # Put right: no false positive is left, and in some kinds true segments are matched.
        wrong = np.flatnonzero(kinds >= 0)
        np.add.at(self._sums["segments"], (kinds[wrong], predicted[wrong]), 1)
        np.add.at(self._sums["segments"][MISSED], truth[missed], 1)
        np.subtract.at(fp, (kinds[wrong] + 1, predicted[wrong]), 1)
        np.subtract.at(fn[MISSED + 1], truth[missed], 1)
        for kind in (WRONG_CLASS, POOR_MASK):
            gained = np.unique(partners[kinds == kind])
            np.subtract.at(fn[kind + 1], truth[gained], 1)
            np.add.at(tp[kind + 1], truth[gained], 1)
            if kind == POOR_MASK:
                np.add.at(iou[kind + 1], truth[gained], 1)
        t, p = matching.met_truth, matching.met_predicted
        renamed = (kinds[p] == WRONG_CLASS) & (partners[p] == t)
        np.add.at(iou[WRONG_CLASS + 1], truth[t[renamed]], matching.met_iou[renamed])

    def compute(self) -> ThingErrorsResult:
        """Numbers and costs of all kinds, of all images so far."""
        columns = (self._sums[name] for name in ("iou", "tp", "fp", "fn"))
        now, *without = (summarize(self.categories, *row).things.pq for row in zip(*columns, strict=True))
        return ThingErrorsResult(
            tuple(
                ThingError(
                    kind,
                    int(segments.sum()),
                    pq - now,
                    {self.categories[i].id: int(segments[i]) for i in np.flatnonzero(segments).tolist()},
                )
                for kind, segments, pq in zip(KINDS, self._sums["segments"], without, strict=True)
            )
        )


def find_thing_errors(
    matching: Matching, truth: Int64s, predicted: Int64s, is_thing: Bools
) -> tuple[Int64s, Int64s, Int64s]:
    """What is wrong with each predicted thing of an image; `ThingErrors` says what the kinds are.

    Args:
        truth, predicted: [T] and [P] positions of the segments' categories.
        is_thing: [C] of each category.

    Returns:
        The kind of each predicted segment [P], -1 where nothing is wrong or it is stuff; the position of the true
        segment that it is a wrong class, poor mask or duplicate of [P], else -1; positions of the missed things.
    """
    kinds, partners = np.full(len(predicted), -1, np.int64), np.full(len(predicted), -1, np.int64)
    kinds[matching.surplus & is_thing[predicted]] = BACKGROUND
    scored_thing = is_thing[truth] & ~np.array([segment.is_crowd for segment in matching.truth], bool)
    t, p = matching.met_truth, matching.met_predicted
    most_of_it = 2 * matching.met_pixels > (matching.predicted_areas - matching.void_pixels)[p]
    on = scored_thing[t] & (kinds[p] >= 0) & ((matching.met_iou >= MIN_IOU) | most_of_it)
    own = truth[t] == predicted[p]
    kinds[p[on & ~own]] = BOTH

    # The true thing of its category that each shares most pixels with; of equal ones, the first.
    candidates = np.flatnonzero(on & own)
    candidates = candidates[np.argsort(-matching.met_pixels[candidates], kind="stable")]
    segments, first = np.unique(p[candidates], return_index=True)
    partners[segments] = t[candidates[first]]
    kinds[segments] = np.where(matching.missed[partners[segments]], POOR_MASK, DUPLICATE)

    confused_truth, confused_predicted = confused_pairs(matching)
    both_things = scored_thing[confused_truth] & (kinds[confused_predicted] >= 0)
    kinds[confused_predicted[both_things]] = WRONG_CLASS
    partners[confused_predicted[both_things]] = confused_truth[both_things]

    explained = np.zeros(len(truth), bool)
    explained[partners[(kinds == WRONG_CLASS) | (kinds == POOR_MASK)]] = True
    return kinds, partners, np.flatnonzero(matching.missed & is_thing[truth] & ~explained)
