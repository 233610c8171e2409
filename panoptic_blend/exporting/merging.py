"""Last part of the graph: masks are pasted one after the other, then stuff fills what is free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.categories import Categories
from panoptic_blend.exporting.detections import DetectedValues
from panoptic_blend.exporting.image import Sizes, constant

COLUMNS = ("id", "category_id", "is_thing", "area", "x", "y", "width", "height")
"""Of the graph's `segments`."""


@dataclass(frozen=True)
class Thresholds:
    """Inputs of the graph with defaults, scalars: see `PredictionSettings`."""

    min_score: ir.Value
    max_overlap: ir.Value
    min_stuff_area: ir.Value


@dataclass(frozen=True)
class Painted:
    """A map and what is on it.

    Attributes:
        id_map: [H, W] int32.
        segments: [N, 8] int32, see `COLUMNS`.
        scores: [N] float.
    """

    id_map: ir.Value
    segments: ir.Value
    scores: ir.Value


def place_in_output(op: OpBuilder, found: DetectedValues, sizes: Sizes) -> tuple[ir.Value, ir.Value]:
    """Boxes [N, 4] in pixels of the output, cut to it, and [N] which of them have an area."""
    scale = op.Div(op.Cast(sizes.output, to=ir.DataType.DOUBLE), op.Cast(sizes.image, to=ir.DataType.DOUBLE))
    scale = op.Gather(op.Cast(scale, to=ir.DataType.FLOAT), [1, 0, 1, 0])  # x, y, x, y
    limit = op.Gather(op.Cast(sizes.output, to=ir.DataType.FLOAT), [1, 0, 1, 0])
    boxes = op.Min(op.Max(op.Mul(found.boxes, scale), 0.0), limit)
    start, stop = op.Split(boxes, num_outputs=2, axis=1, _outputs=2)
    smallest = op.ReduceMin(op.Sub(stop, start), [1], keepdims=0)
    return boxes, op.Greater(smallest, 0.0)


def paint_instances(
    op: OpBuilder,
    boxes: ir.Value,
    patches: ir.Value,
    found: DetectedValues,
    categories: Categories,
    sizes: Sizes,
    thresholds: Thresholds,
    resolution: int,
    most_instances: int,
) -> Painted:
    """Paint instances by falling score where nothing is yet, a Loop over them: see `place_instances`.

    Args:
        boxes: [N, 4] XYXY pixels of the output, each with an area.
        patches: [N, R, R] foreground probabilities.
        found: the N detections, all of them with a score of `min_score` or more.
        resolution: R.
        most_instances: that N can be.
    """
    ids = op.Gather(constant(op, np.array([c.id for c in categories.things], dtype=np.int64)), found.labels)
    height, width = op.Split(sizes.output, num_outputs=2, _outputs=2)
    small = ir.DataType.UINT8 if most_instances < 256 else ir.DataType.INT32  # the map is copied at every instance
    nothing = op.Cast(0, to=small)
    cells = constant(op, np.arange(resolution, dtype=np.float32)[None])

    def paint(
        op: OpBuilder, index: ir.Value, condition: ir.Value, id_map: ir.Value, next_id: ir.Value
    ) -> list[ir.Value]:
        box = op.Gather(boxes, index, axis=0)
        left, top, right, bottom = op.Split(box, num_outputs=4, _outputs=4)
        first_row, last_row, by_row = _shares(op, top, bottom, height, cells)
        first_column, last_column, by_column = _shares(op, left, right, width, cells)
        patch = op.Gather(patches, index, axis=0)
        values = op.MatMul(op.MatMul(by_row, patch), op.Transpose(by_column, perm=[1, 0]))
        mask = op.GreaterOrEqual(values, 0.5)
        lines = op.Slice(id_map, first_row, last_row, [0])
        taken = op.Cast(op.Slice(lines, first_column, last_column, [1]), to=ir.DataType.BOOL)
        free = op.And(mask, op.Not(taken))
        area, free_area = _count(op, mask), _count(op, free)
        covered = op.Div(
            op.Cast(op.Sub(area, free_area), to=ir.DataType.FLOAT), op.Cast(op.Max(area, 1), to=ir.DataType.FLOAT)
        )
        placed = op.And(op.Greater(free_area, 0), op.LessOrEqual(covered, thresholds.max_overlap))
        painted = op.Where(op.And(free, placed), op.Cast(next_id, to=small), nothing)
        margins = op.Concat([0], first_column, [0], op.Sub(width, last_column), axis=0)
        rows = op.Unsqueeze(op.Range(op.Squeeze(first_row), op.Squeeze(last_row), 1), [1])
        id_map = op.ScatterND(id_map, rows, op.BitwiseOr(lines, op.Pad(painted, margins)))
        y0, y1 = _extent(op, free, 1)
        x0, x1 = _extent(op, free, 0)
        numbers = [
            next_id,
            op.Gather(ids, index),
            op.Cast(1, to=ir.DataType.INT64),
            free_area,
            op.Add(x0, op.Squeeze(first_column)),
            op.Add(y0, op.Squeeze(first_row)),
            op.Sub(x1, x0),
            op.Sub(y1, y0),
        ]
        row = op.Concat(*(op.Reshape(number, [1]) for number in numbers), axis=0)
        following = op.Add(next_id, op.Cast(placed, to=ir.DataType.INT64))
        return [op.Identity(condition), id_map, following, row, placed]

    body = op.builder.subgraph(
        paint,
        [
            ir.val("instance", ir.DataType.INT64, []),
            ir.val("go_on", ir.DataType.BOOL, []),
            ir.val("map_before", small, ["H", "W"]),
            ir.val("next_id", ir.DataType.INT64, []),
        ],
        [
            ir.val("still_go_on", ir.DataType.BOOL, []),
            ir.val("map_after", small, ["H", "W"]),
            ir.val("following_id", ir.DataType.INT64, []),
            ir.val("segment", ir.DataType.INT64, [len(COLUMNS)]),
            ir.val("placed", ir.DataType.BOOL, []),
        ],
        name="paint",
    )
    count = op.Squeeze(op.Shape(found.scores))
    empty = op.Expand(nothing, sizes.output)
    id_map, _, rows, placed = op.Loop(
        count, op.Cast(1, to=ir.DataType.BOOL), empty, op.Cast(1, to=ir.DataType.INT64), body=body, _outputs=4
    )
    placed = op.Reshape(placed, [-1])
    segments = op.Cast(op.Compress(op.Reshape(rows, [-1, len(COLUMNS)]), placed, axis=0), to=ir.DataType.INT32)
    return Painted(op.Cast(id_map, to=ir.DataType.INT32), segments, op.Compress(found.scores, placed, axis=0))


def _shares(
    op: OpBuilder, start: ir.Value, stop: ir.Value, length: ir.Value, cells: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """First and last (exclusive) pixel around a side of a box, and [pixels, R] how much of each cell they take.

    Bilinear, as `paste_mask`: a pixel takes of the two cells next to its centre, and nothing from outside of the box.
    Products with these are several times as fast as GridSample.
    """
    first = op.Max(op.Sub(op.Cast(start, to=ir.DataType.INT64), 1), 0)
    last = op.Min(op.Add(op.Cast(stop, to=ir.DataType.INT64), 2), length)
    pixels = op.Cast(op.Range(op.Squeeze(first), op.Squeeze(last), 1), to=ir.DataType.FLOAT)
    share = op.Div(op.Sub(op.Add(pixels, 0.5), start), op.Sub(stop, start))
    count = op.Cast(op.Shape(cells, start=1), to=ir.DataType.FLOAT)
    place = op.Sub(op.Mul(share, count), 0.5)
    return first, last, op.Relu(op.Sub(1.0, op.Abs(op.Sub(op.Unsqueeze(place, [1]), cells))))


def _count(op: OpBuilder, mask: ir.Value) -> ir.Value:
    return op.Cast(op.ReduceSum(op.Cast(mask, to=ir.DataType.INT32), keepdims=0), to=ir.DataType.INT64)


def _extent(op: OpBuilder, mask: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
    """First and last (exclusive) line that has a pixel, of lines along `axis`."""
    lines = op.ReduceMax(op.Cast(mask, to=ir.DataType.UINT8), [axis], keepdims=0)
    last = op.ArgMax(lines, axis=0, keepdims=0, select_last_index=1)
    return op.ArgMax(lines, axis=0, keepdims=0), op.Add(last, 1)


def paint_stuff(
    op: OpBuilder, things: Painted, labels: ir.Value, categories: Categories, thresholds: Thresholds
) -> Painted:
    """Stuff where no instance is: see `merge`.

    Args:
        things: the map of instances.
        labels: [H, W] int64: 0 = a thing, 1..S = stuff.
    """
    count = len(categories.stuff) + 1
    free = op.Equal(things.id_map, 0)
    labels = op.Where(free, labels, 0)
    size = op.Shape(labels)
    histograms = [_histogram(op, labels, axis, count, size) for axis in (0, 1)]  # [S + 1, H], [S + 1, W]
    areas = op.ReduceSum(histograms[0], [1], keepdims=0)
    enough = op.And(
        op.Greater(areas, 0), op.GreaterOrEqual(areas, op.Cast(thresholds.min_stuff_area, to=ir.DataType.INT32))
    )
    kept = op.And(enough, constant(op, np.arange(count) > 0))
    first_id = op.Cast(op.Shape(things.scores), to=ir.DataType.INT32)
    numbers = op.Add(op.CumSum(op.Cast(kept, to=ir.DataType.INT32), 0), first_id)
    ids = op.Where(kept, numbers, 0)
    id_map = op.Add(things.id_map, op.Gather(ids, labels))
    (y0, y1), (x0, x1) = (_lines(op, histogram) for histogram in histograms)
    categories_of = constant(op, np.array([0, *(c.id for c in categories.stuff)], dtype=np.int32))
    zeros = op.Mul(areas, 0)
    columns = [ids, categories_of, zeros, areas, x0, y0, op.Sub(x1, x0), op.Sub(y1, y0)]
    rows = op.Compress(op.Concat(*(op.Unsqueeze(each, [1]) for each in columns), axis=1), kept, axis=0)
    scores = op.Expand(1.0, op.Shape(rows, start=0, end=1))
    return Painted(id_map, op.Concat(things.segments, rows, axis=0), op.Concat(things.scores, scores, axis=0))


def _histogram(op: OpBuilder, labels: ir.Value, axis: int, count: int, size: ir.Value) -> ir.Value:
    """[count, lines] int32: pixels of every label in every row (axis 0) or column (axis 1)."""
    length = op.Gather(size, [axis])
    line = op.Unsqueeze(op.Range(0, op.Squeeze(length), 1), [1 - axis])
    place = op.Reshape(op.Add(op.Mul(labels, length), line), [-1])
    zeros = op.Expand(op.Cast(0, to=ir.DataType.INT32), op.Mul(length, count))
    ones = op.Expand(op.Cast(1, to=ir.DataType.INT32), op.Shape(place))
    return op.Reshape(
        op.ScatterElements(zeros, place, ones, axis=0, reduction="add"), op.Concat([count], length, axis=0)
    )


def _lines(op: OpBuilder, histogram: ir.Value) -> tuple[ir.Value, ir.Value]:
    """First and last (exclusive) line of every label, int32 [count]."""
    there = op.Cast(op.Greater(histogram, 0), to=ir.DataType.INT32)
    first = op.ArgMax(there, axis=1, keepdims=0)
    last = op.Add(op.ArgMax(there, axis=1, keepdims=0, select_last_index=1), 1)
    return op.Cast(first, to=ir.DataType.INT32), op.Cast(last, to=ir.DataType.INT32)
