"""What is wrong at every pixel of a prediction: a map of kinds of errors, and what is wrong with every segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.matching import Bools, Int64s, positions
from panoptic_blend.evaluation.thing_errors import KINDS, MISSED, POOR_MASK, WRONG_CLASS, find_thing_errors
from panoptic_blend.structures import IdMap

EXTRA_STUFF, MISSED_STUFF, OUTLINE = range(len(KINDS), len(KINDS) + 3)
ERRORS = (*(kind.replace("_", " ") for kind in KINDS), "extra stuff", "missed stuff", "outline")
"""The kinds of errors of things, then those of stuff, then pixels where segments that match differ."""
COLORS = (
    (230, 85, 13),
    (253, 190, 60),
    (180, 60, 160),
    (90, 60, 220),
    (220, 30, 30),
    (30, 110, 230),
    (160, 100, 60),
    (20, 170, 170),
    (235, 235, 235),
)
"""Of `ERRORS`."""


@dataclass(frozen=True, eq=False)
class SegmentErrors:
    """What is wrong with the segments of an image, as places in `ERRORS`, -1 where nothing is.

    Attributes:
        truth: [T] of the true segments in `Matching`. One that a wrong class or a poor mask explains has that kind.
        predicted: [P] of the predicted ones.
        missed: [T] true segments that nothing explains.
    """

    truth: Int64s
    predicted: Int64s
    missed: Bools


def find_errors(pair: ImagePair, categories: Categories) -> SegmentErrors:
    """Sort what is wrong with things and stuff of an image into kinds.

    Raises:
        DatasetError: an unknown category, or what `ImagePair.matching` raises.
    """
    matching = pair.matching
    truth = category_positions(matching.truth, categories, pair.source)
    predicted = category_positions(matching.predicted, categories, pair.source)
    is_thing = np.array([category.is_thing for category in categories], bool)
    kinds, partners, missed_things = find_thing_errors(matching, truth, predicted, is_thing)
    found = np.where(matching.surplus & ~is_thing[predicted], EXTRA_STUFF, kinds)
    lost = np.where(matching.missed & ~is_thing[truth], MISSED_STUFF, -1)
    lost[missed_things] = MISSED
    unexplained = lost >= 0
    explains = (kinds == WRONG_CLASS) | (kinds == POOR_MASK)
    lost[partners[explains]] = kinds[explains]
    return SegmentErrors(lost, found, unexplained)


def map_errors(pair: ImagePair, errors: SegmentErrors, rows: Int64s, columns: Int64s) -> npt.NDArray[np.int64]:
    """The kind of error at some rows and columns of the image, as places in `ERRORS`; -1 where nothing is wrong.

    Nothing is wrong where the truth is void or crowd. Elsewhere, what is wrong with the predicted segment comes first,
    then what is wrong with the true one; where both match, but not each other, the pixel belongs to an outline.
    """
    matching = pair.matching
    crowd = np.array([segment.is_crowd for segment in matching.truth], bool)
    table = np.full((len(matching.truth) + 1, len(matching.predicted) + 1), OUTLINE, np.int64)
    table[matching.matched_truth, matching.matched_predicted] = -1
    wrong = np.flatnonzero(errors.truth >= 0)
    table[wrong] = errors.truth[wrong, None]
    wrong = np.flatnonzero(errors.predicted >= 0)
    table[:, wrong] = errors.predicted[wrong]
    table[np.append(crowd, True)] = -1
    truth = _places(pair.truth_ids, matching.truth, rows, columns)
    return table[truth, _places(pair.predicted_ids, matching.predicted, rows, columns)]


def _places(id_map: IdMap, segments: Sequence[object], rows: Int64s, columns: Int64s) -> npt.NDArray[np.int64]:
    """Position of each pixel's segment, -1 for void."""
    ids, labels = contiguous_labels(np.ascontiguousarray(id_map[rows][:, columns]))
    return positions(ids, [segment.id for segment in segments])[labels]  # type: ignore[attr-defined]
