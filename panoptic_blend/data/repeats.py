"""Repeat-factor sampling: images with rare categories are shown more often (LVIS, Gupta et al. 2019, appendix B.1)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from panoptic_blend.coco.annotations import PanopticAnnotations

PARTS = 1 << 20  # of one showing


def category_presence(annotations: PanopticAnnotations, indices: Iterable[int] | None = None) -> npt.NDArray[np.bool_]:
    """[images, categories] whether an image has a segment of a category that is no crowd.

    Args:
        annotations: of the images; columns are in the order of its categories.
        indices: which images to look at; all when None.
    """
    categories = annotations.categories
    rows = range(len(annotations)) if indices is None else list(indices)
    present = np.zeros((len(rows), len(categories)), dtype=bool)
    for row, index in enumerate(rows):
        segments = annotations[int(index)].segments
        present[row, [categories.position(s.category_id) for s in segments if not s.is_crowd]] = True
    return present


def repeat_factors(present: npt.NDArray[np.bool_], threshold: float) -> npt.NDArray[np.float64]:
    """[images] how often each is shown in an epoch: on average, and once at least.

    A category that a share f of all images has gets max(1, sqrt(threshold / f)), and an image the highest of its
    categories.

    Args:
        present: [images, categories].
        threshold: share of the images below which a category is rare.
    """
    frequencies = present.mean(axis=0)
    of_category = np.sqrt(np.maximum(1, threshold / np.where(frequencies > 0, frequencies, 1)))
    return np.where(present, of_category, 1).max(axis=1, initial=1)


def draw_repeats(factors: npt.NDArray[np.float64], offset: float) -> npt.NDArray[np.int64]:
    """[images] how often each is shown in one epoch: its factor rounded up or down, at random.

    Epochs are equally long, so that a run's position tells the epoch: the factors are scaled to a whole sum, and laid
    end to end; an image is shown as often as its stretch holds one of the points offset, offset + 1, offset + 2, ...

    Args:
        factors: 1 or more each.
        offset: in [0, 1), drawn evenly.
    """
    length = epoch_length(factors)
    # Whole numbers of small parts: sums of floats lose what an offset close to 0 or 1 decides.
    stretches = (factors * (length / factors.sum()) * PARTS).astype(np.int64)
    ends = np.cumsum(stretches)
    ends[-1] = length * PARTS
    point = int(offset * PARTS)
    return np.diff(-((point - ends) // PARTS), prepend=0)


def epoch_length(factors: npt.NDArray[np.float64]) -> int:
    """Images of an epoch, repetitions counted."""
    return math.ceil(factors.sum())
