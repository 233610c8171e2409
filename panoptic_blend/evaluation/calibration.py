"""Whether scores are probabilities: do 70 % of predicted things with score 0.7 match? (Guo et al., 2017, sec. 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.metric import Sums

BINS = 10


@dataclass(frozen=True)
class CalibrationBin:
    """Predicted things with scores from `low` to `high`; the upper end belongs to the next bin, 1 to the last.

    Attributes:
        segments: how many there are.
        score: their mean score; 0 when there is none.
        precision: which share of them matches a true segment; 0 when there is none.
    """

    low: float
    high: float
    segments: int
    score: float
    precision: float


@dataclass(frozen=True)
class CalibrationResult:
    """How far scores are from being probabilities.

    Attributes:
        error: expected calibration error, the mean over predicted things of |score - precision| of their bin.
        bins: of equal width.
        per_class: {category id: error} of the things predicted, in bins of their own.
        bins_per_class: {category id: those bins}.
        notes: what a reader of the numbers must know.
    """

    error: float
    bins: tuple[CalibrationBin, ...]
    per_class: Mapping[int, float]
    bins_per_class: Mapping[int, tuple[CalibrationBin, ...]]
    notes: tuple[str, ...] = ()


class Calibration(Sums):
    """Compares the scores of predicted things with how many of them are true positives.

    Those that panoptic quality counts as neither true nor false positive, since they lie in void or crowd, are left
    out, and so are segments without a score.

    State: `segments` and `matched` int64 [C, 10], `score` float64 [C, 10]: by category and bin, how many, how many of
    them match, and the sum of their scores. `unscored` int64 [1]: how many have no score.
    """

    def __init__(self, categories: Categories):
        shape = len(categories), BINS
        segments, matched = (np.zeros(shape, np.int64) for _ in range(2))
        unscored = np.zeros(1, np.int64)
        super().__init__(categories, segments=segments, matched=matched, score=np.zeros(shape), unscored=unscored)
        self._is_thing = np.array([category.is_thing for category in categories], bool)

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        matching = pair.matching
        category = category_positions(matching.predicted, self.categories, pair.source)
        # None becomes NaN. Six digits are what predictions.json has, so that `evaluate` and `score` agree.
        score = np.round(np.array([segment.score for segment in matching.predicted], np.float64), 6)
        match = np.zeros(len(category), bool)
        match[matching.matched_predicted] = True
        counted = self._is_thing[category] & (match | matching.surplus)
        scored = counted & ~np.isnan(score)
        self._sums["unscored"] += counted.sum() - scored.sum()
        category, score, match = category[scored], score[scored], match[scored]
        bins = np.clip((score * BINS).astype(np.int64), 0, BINS - 1)
        np.add.at(self._sums["segments"], (category, bins), 1)
        np.add.at(self._sums["matched"], (category, bins), match)
        np.add.at(self._sums["score"], (category, bins), score)

    def compute(self) -> CalibrationResult:
        """Calibration of all scores so far."""
        columns = [self._sums[name] for name in ("segments", "matched", "score")]
        totals = [values.sum(axis=0) for values in columns]
        present = np.flatnonzero(columns[0].any(axis=1)).tolist()
        notes = []
        unscored = int(self._sums["unscored"][0])
        if unscored:
            notes.append(f"{unscored} predicted things have no score and are left out")
        if not present:
            notes.append("no predicted thing has a score: 0")
        return CalibrationResult(
            error=_error(*totals),
            bins=_bins(*totals),
            per_class={self.categories[i].id: _error(*(values[i] for values in columns)) for i in present},
            bins_per_class={self.categories[i].id: _bins(*(values[i] for values in columns)) for i in present},
            notes=tuple(notes),
        )


def _bins(segments: npt.NDArray, matched: npt.NDArray, score: npt.NDArray) -> tuple[CalibrationBin, ...]:
    rows = zip(segments.tolist(), matched.tolist(), score.tolist(), strict=True)
    return tuple(
        CalibrationBin(i / BINS, (i + 1) / BINS, n, total / max(n, 1), right / max(n, 1))
        for i, (n, right, total) in enumerate(rows)
    )


def _error(segments: npt.NDArray, matched: npt.NDArray, score: npt.NDArray) -> float:
    """Expected calibration error of bins with so many segments, matches, and such sums of scores."""
    return float(np.abs(score - matched).sum() / max(segments.sum(), 1))
