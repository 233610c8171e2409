"""The segments of an id map as polygons that meet without gaps, simple enough to be edited by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import IdMap

Points = npt.NDArray[np.float64]
"""[N, 2] of x and y in pixels; pixel (row, column) covers column..column + 1, row..row + 1."""

_OUTSIDE = -1
"""What lies beyond the image's border."""
_STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
"""Row and column of a step to the right, down, to the left and up: each a quarter turn clockwise from the last."""
_AHEAD_LEFT = np.array([(-1, 0), (0, 0), (0, -1), (-1, -1)])
_AHEAD_RIGHT = np.roll(_AHEAD_LEFT, -1, axis=0)
"""Of a point that is reached by a step: the pixels ahead of it, left and right of the way."""
_REAL_CORNER = 3
"""Pixels that both sides of a corner are long at least; shorter ones are steps of a slanted line."""


@dataclass(frozen=True)
class Arc:
    """A stretch of border between the same two neighbours.

    Attributes:
        neighbour: id on its other side.
        corners: [N, 2] x and y of its ends and of every turn between them.
        is_loop: it is the whole of a ring: the first corner comes again as the last.
    """

    neighbour: int
    corners: npt.NDArray[np.int64]
    is_loop: bool


@dataclass(frozen=True)
class Ring:
    """A closed border of a segment, which lies to its right.

    Attributes:
        is_hole: the border runs around a hole.
    """

    is_hole: bool
    arcs: list[Arc]


def trace_rings(id_map: IdMap) -> dict[int, list[Ring]]:
    """The borders of every segment of a map [H, W], by id; 0 is none. Pixels that touch by a corner hang together."""
    edges = _Edges.of(id_map)
    rings: dict[int, list[Ring]] = {}
    for ring in edges.rings():
        segment_id = int(edges.own[ring[0]])
        arcs = [edges.arc(arc) for arc in edges.cut(ring)]
        corners = np.concatenate([arc.corners[:-1] for arc in arcs])
        is_hole = _signed_area(corners) < 0
        rings.setdefault(segment_id, []).append(Ring(is_hole, arcs))
    return rings


def outline(ring: Ring, tolerance: Callable[[int], float]) -> Points:
    """A ring as a polygon; along the image's border it is exact.

    The two sides of an arc are given the same points, so that neighbours have neither gaps nor overlaps.

    Args:
        tolerance: pixels that the arc to a neighbour may be moved at most; 0 keeps every corner of every pixel.
    """
    return np.concatenate(
        [_simplified(arc, 0.0 if arc.neighbour == _OUTSIDE else tolerance(arc.neighbour))[:-1] for arc in ring.arcs]
    )


def join(polygons: list[Points]) -> Points:
    """One polygon of several, outer ones and holes, by bridges without width: filled by even-odd, it is the same."""
    joined, *others = polygons
    for other in others:
        here = _nearest(joined, other[0])
        way = np.roll(other, -_nearest(other, joined[here]), axis=0)
        joined = np.concatenate([joined[: here + 1], way, way[:1], joined[here:]])
    return joined


def _nearest(points: Points, point: Points) -> int:
    return int(((points - point) ** 2).sum(axis=1).argmin())


@dataclass(frozen=True)
class _Edges:
    """Sides of pixels that border on another segment, each as a step with the own pixel on its right.

    Attributes:
        starts: [N, 2] row and column of the point a step starts at.
        directions: [N] positions in `_STEPS`.
        own, other: [N] ids on the right and on the left.
        following: [N] position of the next step around the same segment.
        is_end: [N] a step starts where three segments meet, or two that touch by corners only.
    """

    starts: npt.NDArray[np.int64]
    directions: npt.NDArray[np.int64]
    own: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64]
    following: npt.NDArray[np.int64]
    is_end: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, id_map: IdMap) -> _Edges:
        height, width = id_map.shape
        padded = np.full((height + 2, width + 2), _OUTSIDE, np.int64)
        padded[1:-1, 1:-1] = id_map
        found = []
        # Of the own pixel: the neighbour across a side, and the point where the step along that side starts.
        for direction, ((dy, dx), (sy, sx)) in enumerate(
            zip(np.roll(_STEPS, 1, axis=0).tolist(), [(0, 0), (0, 1), (1, 1), (1, 0)], strict=True)
        ):
            across = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            y, x = np.nonzero((id_map != across) & (id_map != 0))
            found.append(np.stack([y + sy, x + sx, np.full_like(y, direction), id_map[y, x], across[y, x]], axis=1))
        table = np.concatenate(found)
        starts, (directions, own, other) = table[:, :2], table[:, 2:].T
        ends = starts + _STEPS[directions]
        left, right = (padded[tuple((ends + ahead[directions] + 1).T)] == own for ahead in (_AHEAD_LEFT, _AHEAD_RIGHT))
        # Pixels that touch by a corner belong together, so that way is taken first.
        turn = np.where(left, -1, np.where(right, 0, 1))
        position = np.full((4, height + 1, width + 1), -1, np.int64)
        position[directions, starts[:, 0], starts[:, 1]] = np.arange(len(table))
        following = position[(directions + turn) % 4, ends[:, 0], ends[:, 1]]
        return cls(starts, directions, own, other, following, _crossings(padded)[tuple(starts.T)])

    def rings(self) -> Iterator[list[int]]:
        """Positions of the steps of each closed border."""
        following = self.following.tolist()
        is_free = [True] * len(following)
        for first in range(len(following)):
            ring, step = [], first
            while is_free[step]:
                is_free[step] = False
                ring.append(step)
                step = following[step]
            if ring:
                yield ring

    def cut(self, ring: list[int]) -> list[list[int]]:
        """A ring's steps between points where segments meet; a ring without such points as one."""
        ends = np.flatnonzero(self.is_end[ring]).tolist()
        if not ends:
            return [ring]
        around = [*ends, ends[0] + len(ring)]
        twice = ring + ring
        return [twice[start:end] for start, end in itertools.pairwise(around)]

    def arc(self, steps: list[int]) -> Arc:
        """The points of some steps that follow each other."""
        directions = self.directions[steps]
        last = self.starts[steps[-1]] + _STEPS[directions[-1]]
        is_turn = np.r_[True, directions[1:] != directions[:-1]]
        corners = np.concatenate([self.starts[steps][is_turn], last[None]])[:, ::-1]
        is_loop = not self.is_end[steps[0]]
        return Arc(int(self.other[steps[0]]), corners, is_loop)


def _crossings(padded: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """[H + 1, W + 1]: whether more than two borders meet at a point between pixels."""
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return ((a != b).astype(int) + (c != d) + (a != c) + (b != d)) > 2


def _signed_area(points: npt.NDArray[np.int64]) -> float:
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def _simplified(arc: Arc, tolerance: float) -> Points:
    """An arc's points, from both sides the same; the last of a loop is its first again."""
    corners = arc.corners
    if arc.is_loop:  # start at a corner that the other side starts at too
        corners = corners[:-1]
        if (corners[-1] == corners[1]).any():  # a straight way through the first point
            corners = corners[1:]
        corners = np.roll(corners, -int(np.lexsort(corners.T)[0]), axis=0)
        corners = np.concatenate([corners, corners[:1]])
    is_backward = corners[::-1].tolist() < corners.tolist()
    if is_backward:
        corners = corners[::-1]
    points = _douglas_peucker(_along(corners), tolerance) if tolerance else corners.astype(np.float64)
    return points[::-1] if is_backward else points


def _along(corners: npt.NDArray[np.int64]) -> Points:
    """Points a line along some corners runs through: its ends, the middle of pixels' sides, and real corners."""
    start, end = corners[:-1], corners[1:]
    lengths = np.abs(end - start).sum(axis=1)
    half = (end - start) / (2 * lengths[:, None])
    is_real = np.r_[(lengths[:-1] >= _REAL_CORNER) & (lengths[1:] >= _REAL_CORNER), True]
    points = np.stack([start + half, end - half, end.astype(np.float64)], axis=1)
    taken = np.stack([np.ones_like(is_real), lengths > 1, is_real], axis=1)
    return np.concatenate([corners[:1], points[taken]])


def _douglas_peucker(points: Points, tolerance: float) -> Points:
    """The fewest of some points, found greedily, whose polyline passes all of them at no more than the tolerance."""
    is_kept = np.zeros(len(points), bool)
    is_kept[[0, -1]] = True
    stretches = [(0, len(points) - 1)]
    while stretches:
        first, last = stretches.pop()
        if last - first < 2:
            continue
        way = points[last] - points[first]
        offsets = points[first + 1 : last] - points[first]
        length = float(way @ way)
        nearest = np.clip(offsets @ way / length, 0, 1)[:, None] * way if length else 0.0
        distances = ((offsets - nearest) ** 2).sum(axis=1)
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance**2:
            middle = first + 1 + farthest
            is_kept[middle] = True
            stretches += [(first, middle), (middle, last)]
    return points[is_kept]
