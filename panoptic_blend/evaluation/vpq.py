"""Video panoptic quality (Kim et al., Video Panoptic Segmentation, 2020, sec. 4): panoptic quality of tubes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.film_frames import FilmFrames, Tubes
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.matching import VOID, Int64s, match
from panoptic_blend.evaluation.metric import State
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.evaluation.pq_result import PQGroup, PQResult

WINDOWS = (0, 5, 10, 15)
"""The k of the paper: tubes of k + 1 frames."""


@dataclass(frozen=True)
class VPQResult:
    """Means over the windows that fit into a film, in 0..1; 0 when none does.

    Attributes:
        all, things, stuff: VPQ over all, thing and stuff categories.
        windows: {k: panoptic quality of the tubes in every window of k + 1 frames}; those that fit into a film.
        notes: what a reader of the numbers must know.
    """

    all: float
    things: float
    stuff: float
    windows: Mapping[int, PQResult]
    notes: tuple[str, ...] = ()


class VideoPanopticQuality:
    """Matches tubes, a segment's pixels in all frames of a window, as panoptic quality matches segments.

    Every window of k + 1 consecutive frames counts, of all films. With k = 0 this is `PanopticQuality`.

    Args:
        categories: of the data set.
        windows: the values of k.
    """

    def __init__(self, categories: Categories, windows: tuple[int, ...] = WINDOWS):
        self.categories = categories
        self.windows = windows
        self._frames = FilmFrames(categories)

    def update(self, pair: ImagePair) -> None:
        """Add one frame, see `FilmFrames.update`."""
        self._frames.update(pair)

    def merge(self, other: VideoPanopticQuality) -> None:
        """Add the frames of another one."""
        self._frames.merge(other._frames)

    def state(self) -> State:
        """The state of `FilmFrames`."""
        return self._frames.state()

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        self._frames.load_state(state)

    def compute(self) -> VPQResult:
        """Video panoptic quality of all frames so far.

        Raises:
            DatasetError: a true segment changes its category.
        """
        return video_panoptic_quality(self._frames.tubes(), self.categories, self.windows)


def video_panoptic_quality(films: list[Tubes], categories: Categories, windows: tuple[int, ...] = WINDOWS) -> VPQResult:
    """VPQ of films: the mean over k of the panoptic quality of tubes in windows of k + 1 frames."""
    found: dict[int, PQResult] = {}
    notes = []
    for k in windows:
        quality = PanopticQuality(categories)
        starts = [(film, start) for film in films for start in range(len(film.met) - k)]
        for film, start in starts:
            _add_window(quality, film, slice(start, start + k + 1))
        if starts:
            found[k] = quality.compute()
        else:
            notes.append(f"no film has {k + 1} frames: VPQ is the mean without k = {k}")
    notes += [note for each in found.values() for note in each.notes]
    return VPQResult(
        _mean([each.all for each in found.values()]),
        _mean([each.things for each in found.values()]),
        _mean([each.stuff for each in found.values()]),
        found,
        tuple(dict.fromkeys(notes)),
    )


def _mean(groups: list[PQGroup]) -> float:
    return sum(group.pq for group in groups) / len(groups) if groups else 0.0


def _add_window(quality: PanopticQuality, film: Tubes, window: slice) -> None:
    categories = quality.categories
    void, predicted_void = len(film.categories), len(film.predicted_categories)
    true, predicted, pixels = np.concatenate(film.met[window]).T
    area = np.zeros(void, np.int64)
    for rows in film.areas[window]:
        area[rows[:, 0]] += rows[:, 1]
    keys, places = np.unique(true * (predicted_void + 1) + predicted, return_inverse=True)
    common = np.zeros(len(keys), np.int64)
    np.add.at(common, places, pixels)
    # Ids from 1 on, as maps have them; and a true one of its own for what nobody lists.
    shared = keys // (predicted_void + 1), keys % (predicted_void + 1)
    ids = np.where(shared[0] == void, VOID, shared[0] + 1), np.where(shared[1] == predicted_void, VOID, shared[1] + 1)
    order = np.lexsort((ids[1], ids[0]))
    seen = dict.fromkeys(tube for rows in film.areas[window] for tube in rows[:, 0].tolist())
    quality.add_matching(
        match(
            [_record(i, categories[film.categories[i]].id, bool(film.crowds[i]), int(area[i])) for i in seen],
            [_record(i, categories[film.predicted_categories[i]].id) for i in _listed(predicted, predicted_void)],
            (ids[0][order], ids[1][order], common[order]),
            "film",
        ),
        "film",
    )


def _listed(tubes: Int64s, void: int) -> list[int]:
    return [tube for tube in np.unique(tubes).tolist() if tube != void]


def _record(tube: int, category_id: int, is_crowd: bool = False, area: int = -1) -> SegmentRecord:
    return SegmentRecord(tube + 1, category_id, is_crowd, area, (0, 0, 0, 0))
