"""The merge of one image under many thresholds at once, as far as panoptic quality sees it: without a map for each.

What each instance covers is counted where it is painted, of the truth's segments and of stuff. From these tables follow
the overlaps of every segment with the truth, whatever comes after.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as rle

from panoptic_blend.categories import THING, Categories
from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.matching import Bools, Int64s
from panoptic_blend.structures import Segment


@dataclass(frozen=True)
class Thresholds:
    """What the merge decides by; see `PredictionSettings`."""

    min_score: float
    max_overlap: float
    min_stuff_area: int

    def __str__(self) -> str:
        return f"min_score {self.min_score:g}, max_overlap {self.max_overlap:g}, min_stuff_area {self.min_stuff_area}"


@dataclass(frozen=True)
class Grid:
    """Thresholds to try, each with each other."""

    min_score: tuple[float, ...]
    max_overlap: tuple[float, ...]
    min_stuff_area: tuple[int, ...]

    @property
    def points(self) -> tuple[Thresholds, ...]:
        """All of them, `min_score` changing slowest."""
        every = itertools.product(self.min_score, self.max_overlap, self.min_stuff_area)
        return tuple(Thresholds(*values) for values in every)

    def including(self, own: Thresholds) -> Grid:
        """The same grid with these thresholds in it, all in ascending order."""
        return Grid(
            tuple(sorted({*self.min_score, own.min_score})),
            tuple(sorted({*self.max_overlap, own.max_overlap})),
            tuple(sorted({*self.min_stuff_area, own.min_stuff_area})),
        )


@dataclass(frozen=True, eq=False)
class Merged:
    """What the merge makes of an image under some of the thresholds.

    Attributes:
        points: positions of these among the grid's.
        segments: with ids 1, 2, ... in painting order.
        overlaps: with the truth, as `ImagePair.overlaps`.
    """

    points: list[int]
    segments: list[Segment]
    overlaps: tuple[Int64s, Int64s, Int64s]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """An instance's mask [h, w] in some rows and columns of the image."""

    score: float
    category_id: int
    region: tuple[slice, slice]
    mask: Bools
    area: int


@dataclass(frozen=True, eq=False)
class _Painted:
    """A candidate that was painted, and how many pixels [T] of each true id it got."""

    place: int
    candidate: _Candidate
    pixels: Int64s


def merge_under_all(pair: ImagePair, categories: Categories, grid: Grid) -> list[Merged]:
    """Merge an image as the model does (Panoptic Segmentation, sec. 6), once for each point of a grid.

    Instances are painted by falling score where nothing is yet, so that a higher `min_score` only stops earlier: one
    painting for each `max_overlap` is enough.

    Args:
        pair: with detections and stuff; its own predicted map is not looked at.

    Raises:
        DatasetError: the truth is not of the size of the stuff, or `pair` lacks what is merged.
    """
    stuff = pair.stuff
    if stuff is None or pair.detections is None or stuff.shape != pair.truth_ids.shape:
        raise DatasetError(f"{pair.source}: needs detections, and stuff of the size of the truth, to be merged again.")
    ids, truth = contiguous_labels(pair.truth_ids)
    columns = len(categories.stuff) + 1
    cells = truth.astype(np.int64) * columns + stuff
    whole = np.bincount(cells.ravel(), minlength=len(ids) * columns).reshape(len(ids), columns)
    candidates = list(_candidates(pair, categories, min(grid.min_score)))
    position = {point: place for place, point in enumerate(grid.points)}
    found: dict[object, Merged] = {}
    for overlap in grid.max_overlap:
        for scores, painted, rest in _paint(candidates, cells, whole, overlap, grid.min_score):
            areas = rest.sum(axis=0).tolist()
            for least in grid.min_stuff_area:
                labels = [n for n, area in enumerate(areas) if n != THING and area > 0 and area >= least]
                key = (*(each.place for each in painted), None, *labels)
                if key not in found:
                    found[key] = _put_together(painted, rest, labels, ids, categories)
                found[key].points.extend(position[Thresholds(score, overlap, least)] for score in scores)
    return list(found.values())


def _candidates(pair: ImagePair, categories: Categories, least: float) -> Iterator[_Candidate]:
    """Instances with a mask, by falling score."""
    assert pair.detections is not None
    scores = np.asarray(pair.detections.scores, np.float64)
    for place in np.argsort(-scores, kind="stable").tolist():
        if scores[place] < least:
            return
        encoded = pair.detections.rles[place]
        left, top, width, height = (int(value) for value in rle.toBbox(encoded))
        region = slice(top, top + height), slice(left, left + width)
        mask = rle.decode(encoded)[region].astype(bool)
        if mask.any():
            label = int(pair.detections.labels[place])
            yield _Candidate(float(scores[place]), categories.things[label].id, region, mask, int(mask.sum()))


def _paint(
    candidates: Sequence[_Candidate], cells: Int64s, whole: Int64s, max_overlap: float, min_scores: Sequence[float]
) -> Iterator[tuple[list[float], list[_Painted], Int64s]]:
    """Paint instances; each time that no further one reaches some of the scores, say what there is by then.

    Args:
        cells: [H, W] places of pixels in `whole`, flattened.
        whole: [T, S + 1] pixels of every true id and stuff label.

    Yields:
        The scores, what was painted, and what is left of `whole`; the last two change afterwards.
    """
    free, rest = np.ones(cells.shape, bool), whole.copy()
    painted: list[_Painted] = []
    waiting = sorted(min_scores, reverse=True)
    for place, candidate in enumerate(candidates):
        done = [score for score in waiting if score > candidate.score]
        if done:
            yield done, painted, rest
            waiting = waiting[len(done) :]
        if not waiting:
            return
        window = free[candidate.region]
        own = candidate.mask & window
        free_area = int(own.sum())
        if free_area == 0 or (candidate.area - free_area) / candidate.area > max_overlap:
            continue
        window[own] = False
        taken = np.bincount(cells[candidate.region][own], minlength=whole.size).reshape(whole.shape)
        rest -= taken
        painted.append(_Painted(place, candidate, taken.sum(axis=1)))
    yield waiting, painted, rest


def _put_together(
    painted: Sequence[_Painted], rest: Int64s, labels: Sequence[int], ids: Int64s, categories: Categories
) -> Merged:
    """Segments of instances and of stuff labels, and where they meet the truth."""
    left_void = rest.sum(axis=1) - rest[:, labels].sum(axis=1)
    table = np.column_stack([left_void, *(each.pixels for each in painted), rest[:, labels]])
    areas = table.sum(axis=0).tolist()
    kinds = [(each.candidate.category_id, True, each.candidate.score) for each in painted]
    kinds += [(categories.stuff[label - 1].id, False, 1.0) for label in labels]
    segments = [Segment(n, *kind, areas[n]) for n, kind in enumerate(kinds, start=1)]
    truth, predicted = np.nonzero(table)
    return Merged([], segments, (ids[truth], predicted, table[truth, predicted]))
