"""Segmentation and tracking quality (Weber et al., STEP: Segmenting and Tracking Every Pixel, 2021, sec. 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.film_frames import FilmFrames, Tubes
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.metric import State


@dataclass(frozen=True)
class STQResult:
    """In 0..1.

    Attributes:
        stq: sqrt(aq x sq).
        aq: association quality: how far the ids of things stay with them; 0, and noted, without true things.
        sq: segmentation quality: mean IoU of the categories in truth or prediction.
        per_class: {category id: IoU} of the categories present.
        notes: what a reader of the numbers must know.
    """

    stq: float
    aq: float
    sq: float
    per_class: Mapping[int, float]
    notes: tuple[str, ...] = ()


class SegmentationTrackingQuality:
    """Judges categories and ids of whole films apart, without a threshold on IoU."""

    def __init__(self, categories: Categories):
        self.categories = categories
        self._frames = FilmFrames(categories)

    def update(self, pair: ImagePair) -> None:
        """Add one frame, see `FilmFrames.update`."""
        self._frames.update(pair)

    def merge(self, other: SegmentationTrackingQuality) -> None:
        """Add the frames of another one."""
        self._frames.merge(other._frames)

    def state(self) -> State:
        """The state of `FilmFrames`."""
        return self._frames.state()

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        self._frames.load_state(state)

    def compute(self) -> STQResult:
        """Segmentation and tracking quality of all frames so far.

        Raises:
            DatasetError: a true segment changes its category.
        """
        return segmentation_tracking_quality(self._frames.tubes(), self.categories)


def segmentation_tracking_quality(films: list[Tubes], categories: Categories) -> STQResult:
    """STQ of films (eqs. 2-5): tracks and pixels are summed over all of them first."""
    confusion = np.zeros((len(categories), len(categories) + 1), np.int64)
    tracks, association = 0, 0.0
    for film in films:
        met = np.concatenate([np.zeros((0, 3), np.int64), *film.met])
        _add_confusion(confusion, film, met)
        number, quality = _association(film, met, categories)
        tracks += number
        association += quality
    right = np.diagonal(confusion)
    union = confusion.sum(axis=1) + confusion[:, :-1].sum(axis=0) - right
    per_class = {category.id: float(right[i] / union[i]) for i, category in enumerate(categories) if union[i] > 0}
    aq = association / tracks if tracks else 0.0
    sq = sum(per_class.values()) / len(per_class) if per_class else 0.0
    notes = () if tracks else ("the truth has no thing to be tracked: AQ is 0",)
    return STQResult(math.sqrt(aq * sq), aq, sq, per_class, notes)


def _add_confusion(confusion: np.ndarray, film: Tubes, met: np.ndarray) -> None:
    """Pixels by true and predicted category, the last column predicted void; crowds have a category, void has none."""
    known = met[:, 0] < len(film.categories)
    true, predicted, pixels = met[known].T
    void = confusion.shape[1] - 1
    np.add.at(confusion, (film.categories[true], np.append(film.predicted_categories, void)[predicted]), pixels)


def _association(film: Tubes, met: np.ndarray, categories: Categories) -> tuple[int, float]:
    """How many tracks the truth has, and the sum of their association quality.

    A track g counts 1/|g| of the sum, over predicted tracks p that share TPA pixels with it, of TPA x TPA / |p or g|.
    """
    is_thing = np.array([category.is_thing for category in categories], bool)
    # Of the truth: tracks, stuff and crowds, void, unlisted ids. Of the prediction: tracks, stuff, void.
    track = np.append(is_thing[film.categories] & ~film.crowds, [False, False])
    crowd = np.append(is_thing[film.categories] & film.crowds, [False, False])
    predicted_track = np.append(is_thing[film.predicted_categories], False)
    true, predicted, pixels = met.T
    size, predicted_size = np.zeros(len(track), np.int64), np.zeros(len(predicted_track), np.int64)
    np.add.at(size, true, pixels)
    free = ~crowd[true]  # what lies in a crowd has no right id
    np.add.at(predicted_size, predicted[free], pixels[free])
    both = track[true] & predicted_track[predicted]
    keys, places = np.unique(true[both] * len(predicted_track) + predicted[both], return_inverse=True)
    common = np.zeros(len(keys), np.int64)
    np.add.at(common, places, pixels[both])
    g, p = keys // len(predicted_track), keys % len(predicted_track)
    quality = common * (common / (size[g] + predicted_size[p] - common)) / size[g]
    return int((track & (size > 0)).sum()), float(quality.sum())
