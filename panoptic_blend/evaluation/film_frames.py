"""What the metrics of films keep: of every frame its segments, and on how many pixels true and predicted ones meet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.matching import VOID, Int64s
from panoptic_blend.evaluation.metric import State

_TABLES = {"truth": 4, "predicted": 2, "met": 3}
"""Tables of a frame, and how many columns they have."""


@dataclass(frozen=True, eq=False)
class FrameCounts:
    """One frame.

    Attributes:
        truth: int64 [T, 4] id, position of the category, 1 for a crowd, area.
        predicted: int64 [P, 2] id and position of the category.
        met: int64 [N, 3] true id, predicted id, and on how many pixels they meet; 0 is void.
    """

    truth: Int64s
    predicted: Int64s
    met: Int64s


@dataclass(frozen=True, eq=False)
class Tubes:
    """The segments of one film as tubes: what has one id (and, where predicted, one category) in all its frames.

    Attributes:
        categories: [K] positions of the true tubes' categories.
        crowds: [K] bool.
        predicted_categories: [L] of the predicted tubes.
        areas: of every frame, int64 [T, 2]: true tube, area there.
        met: of every frame, int64 [N, 3]: true tube (K: void, K + 1: an id that no segment lists), predicted tube (L:
            void), pixels.
    """

    categories: Int64s
    crowds: npt.NDArray[np.bool_]
    predicted_categories: Int64s
    areas: Sequence[Int64s]
    met: Sequence[Int64s]


class FilmFrames:
    """Keeps the frames of films, which may come in any order, and from several processes.

    State: `films` [F] ids as JSON texts; `frames` int64 [R, 2], position of its film and frame id; and `truth`,
    `predicted` and `met`, the rows of `FrameCounts` with the position of their frame before them.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self._films: dict[int | str, dict[int, FrameCounts]] = {}

    def update(self, pair: ImagePair) -> None:
        """Add one frame; one that is given twice counts once.

        Raises:
            DatasetError: the image is of no film, an unknown category, or what `ImagePair.matching` raises.
        """
        if pair.video_id is None or pair.frame_id is None:
            raise DatasetError(
                f"{pair.source}: is no frame of a film: it has no video_id and frame_id. Write both into the images "
                "of the truth."
            )
        matching = pair.matching
        truth = category_positions(pair.truth_segments, self.categories, pair.source).tolist()
        predicted = category_positions(pair.predicted_segments, self.categories, pair.source).tolist()
        area = {segment.id: size for segment, size in zip(matching.truth, matching.truth_areas.tolist(), strict=True)}
        # In the order of the file, in which panopticapi looks for crowds.
        true = pair.truth_segments
        rows = [[s.id, c, int(s.is_crowd), area[s.id]] for s, c in zip(true, truth, strict=True)]
        predicted_rows = [[s.id, c] for s, c in zip(pair.predicted_segments, predicted, strict=True)]
        self._films.setdefault(pair.video_id, {})[pair.frame_id] = FrameCounts(
            np.array(rows, np.int64).reshape(-1, 4),
            np.array(predicted_rows, np.int64).reshape(-1, 2),
            np.stack(pair.overlaps, axis=1).astype(np.int64),
        )

    def merge(self, other: FilmFrames) -> None:
        """Add the frames of another one."""
        for film, frames in other._films.items():
            self._films.setdefault(film, {}).update(frames)

    def state(self) -> dict[str, npt.NDArray]:
        """Everything kept so far, by the names in the class's docstring; a copy."""
        frames = [(film, frame) for film, kept in enumerate(self._films.values()) for frame in kept]
        counts = [each for kept in self._films.values() for each in kept.values()]
        state: dict[str, npt.NDArray] = {
            "films": np.array([json.dumps(film) for film in self._films], np.str_),
            "frames": np.array(frames, np.int64).reshape(-1, 2),
        }
        for name, columns in _TABLES.items():
            tables = [getattr(each, name) for each in counts]
            position = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
            rows = np.concatenate([np.zeros((0, columns), np.int64), *tables])
            state[name] = np.concatenate([position[:, None], rows], axis=1).astype(np.int64)
        return state

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        films = [json.loads(text) for text in state["films"].tolist()]
        self._films = {film: {} for film in films}
        places = np.arange(len(state["frames"]) + 1)
        ends = {name: np.searchsorted(state[name][:, 0], places).tolist() for name in _TABLES}
        for place, (film, frame) in enumerate(state["frames"].tolist()):
            tables = (state[name][ends[name][place] : ends[name][place + 1], 1:].copy() for name in _TABLES)
            self._films[films[film]][frame] = FrameCounts(*tables)

    def tubes(self) -> list[Tubes]:
        """Every film's, its frames in their order.

        Raises:
            DatasetError: a true segment is of another category, or a crowd, in some frames only.
        """
        return [_tubes(film, dict(sorted(frames.items()))) for film, frames in self._films.items()]


def _tubes(film: int | str, frames: dict[int, FrameCounts]) -> Tubes:
    true: dict[int, tuple[int, int]] = {}
    predicted: dict[tuple[int, int], int] = {}
    for frame, counts in frames.items():
        for segment, *what, _ in counts.truth.tolist():
            if true.setdefault(segment, (what[0], what[1])) != (what[0], what[1]):
                raise DatasetError(
                    f"film {film!r}, frame {frame}: true segment {segment} is of another category, or a crowd, in an "
                    "earlier frame. A segment of a film keeps its id, and an id its meaning, in all frames."
                )
        for segment, category in counts.predicted.tolist():
            predicted.setdefault((segment, category), len(predicted))
    numbers = {segment: number for number, segment in enumerate(true)} | {VOID: len(true)}
    areas, met = [], []
    for counts in frames.values():
        here = {segment: predicted[segment, category] for segment, category in counts.predicted.tolist()}
        areas.append(np.array([[numbers[row[0]], row[3]] for row in counts.truth.tolist()], np.int64).reshape(-1, 2))
        # An id that no segment lists is neither void nor a segment.
        rows = [
            [numbers.get(a, len(true) + 1), here.get(b, len(predicted)), pixels] for a, b, pixels in counts.met.tolist()
        ]
        met.append(np.array(rows, np.int64).reshape(-1, 3))
    categories, crowds = np.array(list(true.values()), np.int64).reshape(-1, 2).T
    return Tubes(
        categories, crowds.astype(bool), np.array([category for _, category in predicted], np.int64), areas, met
    )
