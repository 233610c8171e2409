"""Tiles' predictions become one panoptic map, row of tiles by row of tiles, so that a picture may be of any height."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.coco.segments_png import MAX_ID
from panoptic_blend.errors import DatasetError
from panoptic_blend.inference.tiles import GRID, Span
from panoptic_blend.structures import IdMap, Segment

SAME_OBJECT = 0.5
"""Two tiles see one object where its masks have a larger IoU, in what the tiles share: as PQ matches segments."""


@dataclass
class TilePrediction:
    """What was found in one tile.

    Attributes:
        things: int32 [h, w]; n + 1 where thing n is, 0 where none is.
        labels: [N] contiguous thing labels.
        scores: [N].
        logits: [1 + S, h / 4, w / 4] of the stuff branch, rounded up; or None without one.
    """

    things: IdMap
    labels: list[int]
    scores: list[float]
    logits: Tensor | None


class Stitcher:
    """Joins tiles, which come row by row from the left.

    In its core, a tile decides which thing is where. Beyond it, the things that reach its core take what the neighbour
    leaves free. Things of one category whose masks agree in what two tiles share are one thing, however many tiles it
    spans. Stuff logits are blended where tiles overlap. Only what a row of tiles covers is held in memory.

    Args:
        rows: of tiles, along the picture's height.
        columns: likewise, along its width.
        categories: of the model.
        min_stuff_area: stuff with fewer pixels in the whole picture becomes void.
    """

    def __init__(self, rows: Sequence[Span], columns: Sequence[Span], categories: Categories, min_stuff_area: int):
        self.rows, self.columns = list(rows), list(columns)
        self.categories = categories
        self.min_stuff_area = min_stuff_area
        self._width = self.columns[-1].stop
        # Of every thing found so far, from 1 on: one that it is the same as, or itself; and what was found.
        self._parents, self._labels, self._scores = [0], [0], [0.0]
        self._thing_areas = np.zeros(1, np.int64)
        self._stuff_areas = np.zeros(1 + len(categories.stuff), np.int64)

    def strips(self, tiles: Iterator[TilePrediction]) -> Iterator[IdMap]:
        """The picture's map from top to bottom, in codes that `ids` turns into segment ids once all have come.

        Args:
            tiles: in the order of rows, and of columns in each.

        Yields:
            int32 [h, W]: things from 1 on, stuff of label s as -s, 0 for void.

        Raises:
            DatasetError: there are more segments than a PNG's ids, told as soon as it is certain.
        """
        window = _Window(self._width)
        above: list[IdMap] = []
        for index, row in enumerate(self.rows):
            window.grow(row)
            following = self.rows[index + 1].start if index + 1 < len(self.rows) else row.stop
            above = self._add_row(row, window, tiles, above, following)
            # Nothing later reaches above `following`, but for the last cell before it, from which pixels interpolate.
            yield self._finish(window, row.stop if following == row.stop else following - GRID)
            self._check_number(above)

    def _add_row(
        self, row: Span, window: _Window, tiles: Iterator[TilePrediction], above: list[IdMap], following: int
    ) -> list[IdMap]:
        """Paint a row of tiles; returns their things in the rows that they share with the next one, by column."""
        shared_below = []
        left: IdMap | None = None
        for index, column in enumerate(self.columns):
            tile = next(tiles)
            codes = self._register(tile)
            if above:
                self._join(above[index], codes[: len(above[index])])
            if left is not None:
                self._join(left, codes[:, : left.shape[1]])
            window.paint(codes, tile.things, row, column)
            if tile.logits is not None:
                window.blend(tile.logits, row, column)
            left = codes[:, column.free_stop - column.start :]
            shared_below.append(codes[following - row.start :].copy())
        return shared_below

    def _register(self, tile: TilePrediction) -> IdMap:
        """The tile's things under codes of their own in the whole picture."""
        first = len(self._parents)
        self._parents += range(first, first + len(tile.labels))
        self._labels += tile.labels
        self._scores += tile.scores
        return np.where(tile.things > 0, tile.things + (first - 1), 0).astype(np.int32)

    def _join(self, first: IdMap, second: IdMap) -> None:
        """Note which things are the same, from what two tiles see in the pixels that they share."""
        both = (first > 0) & (second > 0)
        pairs, common = np.unique(first[both].astype(np.int64) << 32 | second[both], return_counts=True)
        areas = {code: area for seen in (first, second) for code, area in zip(*_count(seen), strict=True)}
        for pair, count in zip(pairs.tolist(), common.tolist(), strict=True):
            a, b = pair >> 32, pair & 0xFFFFFFFF
            agree = count > SAME_OBJECT * (areas[a] + areas[b] - count)
            if agree and self._labels[a] == self._labels[b]:
                a, b = sorted((self._root(a), self._root(b)))
                self._parents[b] = a

    def _root(self, code: int) -> int:
        while self._parents[code] != code:
            self._parents[code] = code = self._parents[self._parents[code]]
        return code

    def _finish(self, window: _Window, stop: int) -> IdMap:
        """Rows down to `stop`, which leave the window, as codes with the stuff filled in."""
        things, labels = window.take(stop)
        codes = things if labels is None else np.where(things > 0, things, -labels)
        found = np.bincount(things.ravel(), minlength=len(self._parents))
        self._thing_areas = np.pad(self._thing_areas, (0, len(found) - len(self._thing_areas))) + found
        if labels is not None:
            self._stuff_areas += np.bincount(labels[things == 0], minlength=len(self._stuff_areas))
        return codes

    def _check_number(self, above: Sequence[IdMap]) -> None:
        """Raise `DatasetError` once there are too many segments, however many of those `above` become one later."""
        if len(self._parents) <= MAX_ID:
            return
        found = {self._root(code) for code in np.flatnonzero(self._thing_areas).tolist()} - {0}
        may_join = {self._root(code) for codes in above for code in np.unique(codes).tolist()}
        self._refuse_more_than_fit(len(found - may_join))

    def _refuse_more_than_fit(self, segments: int) -> None:
        if segments > MAX_ID:
            raise DatasetError(
                f"the picture has more than {MAX_ID} segments, which is as many as a PNG holds. Cut it into several "
                "pictures."
            )

    def finish(self) -> tuple[list[Segment], IdMap, IdMap]:
        """Segments with ids 1, 2, ..., things by falling score, then stuff; and what `ids` needs.

        Raises:
            DatasetError: there are more segments than a PNG's ids.
        """
        roots = np.array([self._root(code) for code in range(len(self._parents))])
        areas, scores = np.zeros(len(roots), np.int64), np.zeros(len(roots))
        np.add.at(areas, roots, self._thing_areas)
        np.maximum.at(scores, roots, self._scores)
        kept = [root for root in np.argsort(-scores, kind="stable").tolist() if root and areas[root] > 0]
        segments = [
            Segment(number, self.categories.things[self._labels[root]].id, True, float(scores[root]), int(areas[root]))
            for number, root in enumerate(kept, start=1)
        ]
        thing_ids = np.zeros(len(roots), np.int32)
        thing_ids[kept] = np.arange(1, len(kept) + 1)
        stuff_ids = np.zeros(len(self._stuff_areas), np.int32)
        for label, area in enumerate(self._stuff_areas.tolist()):
            if label and area and area >= self.min_stuff_area:
                segments.append(Segment(len(segments) + 1, self.categories.stuff[label - 1].id, False, 1.0, area))
                stuff_ids[label] = len(segments)
        self._refuse_more_than_fit(len(segments))
        return segments, thing_ids[roots], stuff_ids


def ids(codes: IdMap, thing_ids: IdMap, stuff_ids: IdMap) -> IdMap:
    """A strip's codes as segment ids."""
    return np.where(codes > 0, thing_ids[codes.clip(min=0)], stuff_ids[(-codes).clip(min=0)])


def _count(codes: IdMap) -> tuple[list[int], list[int]]:
    """The codes above 0 and how many pixels have them."""
    values, counts = np.unique(codes[codes > 0], return_counts=True)
    return values.tolist(), counts.tolist()


class _Window:
    """The rows of a picture that tiles may still change, over its whole width."""

    def __init__(self, width: int):
        self.top = 0
        self.things = np.zeros((0, width), np.int32)
        self.ranks = np.zeros((0, width), np.uint8)  # 0: free, 1: taken from beyond a tile's core, 2: from its core
        self.first_cell = 0
        self.logits: Tensor | None = None  # [1 + S, cells from first_cell on, W / 4]

    def grow(self, row: Span) -> None:
        """Down to the end of a row of tiles."""
        more = row.stop - self.top - len(self.things)
        self.things, self.ranks = np.pad(self.things, ((0, more), (0, 0))), np.pad(self.ranks, ((0, more), (0, 0)))
        if self.logits is not None:
            more = row.cells.stop - self.first_cell - self.logits.shape[1]
            self.logits = F.pad(self.logits, (0, 0, 0, more))

    def paint(self, codes: IdMap, things: IdMap, row: Span, column: Span) -> None:
        """A tile's things: those that reach its core, where that decides and beyond it where nothing is yet."""
        here = np.s_[row.start - self.top : row.stop - self.top, column.start : column.stop]
        core = np.s_[
            row.core_start - row.start : row.core_stop - row.start,
            column.core_start - column.start : column.core_stop - column.start,
        ]
        reaches_core = np.zeros(int(things.max(initial=0)) + 1, bool)
        reaches_core[things[core]] = True
        reaches_core[0] = False
        known, ranks = self.things[here], self.ranks[here]
        beyond = reaches_core[things] & (ranks == 0)
        known[beyond], ranks[beyond] = codes[beyond], 1
        own = things[core] > 0
        known[core][own], ranks[core][own] = codes[core][own], 2

    def blend(self, logits: Tensor, row: Span, column: Span) -> None:
        """Add a tile's logits, weighted."""
        if self.logits is None:
            cells = -(-self.things.shape[1] // GRID)
            self.logits = logits.new_zeros((len(logits), row.cells.stop - self.first_cell, cells))
        weights = torch.from_numpy(row.weights()[:, None] * column.weights())
        rows = slice(row.cells.start - self.first_cell, row.cells.stop - self.first_cell)
        self.logits[:, rows, column.cells] += logits * weights

    def take(self, stop: int) -> tuple[IdMap, IdMap | None]:
        """The things and the stuff labels of the rows above `stop`, which leave the window."""
        taken = stop - self.top
        things, self.things, self.ranks = self.things[:taken], self.things[taken:].copy(), self.ranks[taken:].copy()
        labels = None
        if self.logits is not None:
            before = self.top - self.first_cell * GRID  # rows of a cell that only helps to interpolate
            labels = _most_likely(self.logits, before, before + taken, things.shape[1])
            kept = max(0, stop // GRID - 1)
            self.logits = self.logits[:, kept - self.first_cell :].clone()
            self.first_cell = kept
        self.top = stop
        return things, labels


def _most_likely(logits: Tensor, start: int, stop: int, width: int) -> IdMap:
    """Labels of the rows from `start` to `stop` of logits [C, h, w] upsampled x4, int32 [stop - start, width]."""
    labels = np.empty((stop - start, width), np.int32)
    for top in range(start, stop, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, stop)
        first = max(top // GRID - 1, 0)
        cells = logits[None, :, first : -(-bottom // GRID) + 1]
        upsampled = F.interpolate(cells, scale_factor=float(GRID), mode="bilinear", align_corners=False)
        rows = upsampled[0, :, top - first * GRID : bottom - first * GRID, :width]
        labels[top - start : bottom - start] = rows.argmax(dim=0).numpy()
    return labels


_ROWS_AT_ONCE = 32
"""A multiple of `GRID`: the logits of every class and pixel of so many rows are in memory."""
