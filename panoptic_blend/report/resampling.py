"""How sure panoptic quality is: what it would have been on other images like these (bootstrap; Efron, 1979)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.metric import State

DRAWS = 1000
CONFIDENCE = 95
"""Percent of the draws that an interval holds."""
_AT_ONCE = 50
"""Draws that are counted together, so that memory stays small with any number of images."""
_COUNTS = "iou", "tp", "fp", "fn"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """Panoptic quality of sets of as many images, drawn with replacement from those that were scored, in 0..1.

    Attributes:
        groups: [draws, 3, 3] PQ, SQ and RQ (last axis) of all, things and stuff.
        per_class: [draws, C] PQ of each category; nan where it is in neither truth nor prediction of a draw.
    """

    groups: Floats
    per_class: Floats


def resample(per_image: State, categories: Categories, draws: int = DRAWS, seed: int = 0) -> Resampled:
    """Draw images again and again.

    Args:
        per_image: state of `PerImagePQ`. Of two predictions for the same images in the same order, the same images are
            drawn, so that their draws can be compared one by one.
    """
    images = len(per_image["image_ids"])
    places = per_image["category"], per_image["image"]
    shape = len(categories), images
    tables = [sparse.csr_matrix((per_image[name].astype(float), places), shape) for name in _COUNTS]
    is_thing = np.array([category.is_thing for category in categories], bool)
    random = np.random.default_rng(seed)
    groups, per_class = np.zeros((draws, 3, 3)), np.full((draws, len(categories)), np.nan)
    for start in range(0, draws if images else 0, _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, draws))
        drawn = range(*rows.indices(draws))
        times = np.stack([np.bincount(random.integers(images, size=images), minlength=images) for _ in drawn])
        iou, tp, fp, fn = (np.asarray(table @ times.T).T for table in tables)
        present = tp + fp + fn > 0
        halves = np.maximum(tp + 0.5 * fp + 0.5 * fn, 0.5)
        numbers = np.stack([iou / halves, iou / np.maximum(tp, 1), tp / halves], axis=-1)
        for place, group in enumerate((present, present & is_thing, present & ~is_thing)):
            sums = (numbers * group[..., None]).sum(axis=1)
            groups[rows, place] = sums / np.maximum(group.sum(axis=1), 1)[:, None]
        per_class[rows] = np.where(present, numbers[..., 0], np.nan)
    return Resampled(groups, per_class)


def interval(values: Floats) -> tuple[float, float]:
    """Between which bounds `CONFIDENCE` percent of the draws [draws] lie; nan where none of them has a value."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    outside = (100 - CONFIDENCE) / 2
    low, high = np.percentile(values, [outside, 100 - outside])
    return float(low), float(high)
