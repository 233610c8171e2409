"""Last part of the graph: masks are pasted one after the other, then stuff fills what is free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.categories import Categories
from panoptic_blend.exporting.detections import DetectedValues
from panoptic_blend.exporting.image import Sizes, constant
from panoptic_blend.pasting import FOREGROUND

_NEVER = np.iinfo(np.int64).max
"""Pixels that void would need to be a segment."""


@dataclass(frozen=True)
class Thresholds:
    """Inputs of the graph with defaults, scalars: see `PredictionSettings`."""

    min_score: ir.Value
    max_overlap: ir.Value
    min_stuff_area: ir.Value


@dataclass(frozen=True)
class Things:
    """Instances on a map.

    Attributes:
        id_map: [H, W] int32: 1..N, 0 where there is none.
        categories: [N] int64, their ids in the data set.
        scores: [N] float.
    """

    id_map: ir.Value
    categories: ir.Value
    scores: ir.Value


@dataclass(frozen=True)
class Painted:
    """A map and what is on it.

    Attributes:
        id_map: [H, W] int32.
        segments: [N, 8] int32, see `runtime.interface.COLUMNS`.
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
) -> Things:
    """Paint instances by falling score where nothing is yet, a Loop over them: see `place_instances`.

    Args:
        boxes: [N, 4] XYXY pixels of the output, each with an area.
        patches: [N, R, R] foreground probabilities.
        found: the N detections, all of them with a score of `min_score` or more.
        resolution: R.
        most_instances: that N can be.
    """
    start, stop = op.Split(boxes, num_outputs=2, axis=1, _outputs=2)  # [N, 2]: x, y
    width, height = op.Split(op.Gather(sizes.output, [1, 0]), num_outputs=2, _outputs=2)
    first = op.Max(op.Sub(op.Cast(start, to=ir.DataType.INT64), 1), 0)
    last = op.Min(op.Add(op.Cast(stop, to=ir.DataType.INT64), 2), op.Concat(width, height, axis=0))
    cells_per_pixel = op.Div(float(resolution), op.Sub(stop, start))
    (left, top), (before, above), (behind, below), (x_scale, y_scale) = (
        op.Split(each, num_outputs=2, axis=1, _outputs=2) for each in (start, first, last, cells_per_pixel)
    )  # [N, 1] each; the pixels around a box are before <= x < behind, above <= y < below
    none = op.Mul(before, 0)
    bounds = op.Concat(before, behind, above, below, axis=1)
    margins = op.Concat(none, before, none, op.Sub(width, behind), axis=1)
    rows, columns = (op.Range(0, op.Squeeze(length), 1) for length in (height, width))
    row_numbers = op.Unsqueeze(rows, [1])
    y, x = (
        op.Mul(op.Sub(op.Add(op.Cast(op.Unsqueeze(each, [0]), to=ir.DataType.FLOAT), 0.5), first), scale)
        for each, first, scale in ((rows, top, y_scale), (columns, left, x_scale))
    )  # [N, H] and [N, W], the centres of pixels in cells of a patch
    y, x = op.Unsqueeze(y, [2]), op.Unsqueeze(x, [1])
    cells = np.arange(resolution, dtype=np.float32) + 0.5
    row_cells, column_cells = constant(op, cells[None]), constant(op, cells[:, None])
    small = ir.DataType.UINT8 if most_instances < 256 else ir.DataType.INT32  # the map is copied at every instance
    nothing = op.Cast(0, to=small)

    def paint(
        op: OpBuilder, index: ir.Value, condition: ir.Value, id_map: ir.Value, next_id: ir.Value
    ) -> list[ir.Value]:
        def own(table: ir.Value) -> ir.Value:
            return op.Gather(table, index, axis=0)

        x0, x1, y0, y1 = op.Split(own(bounds), num_outputs=4, axis=0, _outputs=4)
        by_row = _shares(op, op.Slice(own(y), y0, y1, [0]), row_cells)
        by_column = _shares(op, op.Slice(own(x), x0, x1, [1]), column_cells)
        mask = op.GreaterOrEqual(op.MatMul(op.MatMul(by_row, own(patches)), by_column), FOREGROUND)
        lines = op.Slice(id_map, y0, y1, [0])
        free = op.And(mask, op.Equal(op.Slice(lines, x0, x1, [1]), nothing))
        area, free_area = (_count(op, each) for each in (mask, free))
        covered = op.Div(
            op.Cast(op.Sub(area, free_area), to=ir.DataType.FLOAT), op.Cast(op.Max(area, 1), to=ir.DataType.FLOAT)
        )
        placed = op.And(op.Cast(free_area, to=ir.DataType.BOOL), op.LessOrEqual(covered, thresholds.max_overlap))
        painted = op.Where(op.And(free, placed), op.Cast(next_id, to=small), nothing)
        # One of the two is 0. `Max` of bytes would do, but comes with onnxruntime 1.24.
        painted = op.BitwiseOr(lines, op.Pad(painted, own(margins)))
        id_map = op.ScatterND(id_map, op.Slice(row_numbers, y0, y1, [0]), painted)
        return [op.Identity(condition), id_map, op.Add(next_id, op.Cast(placed, to=ir.DataType.INT32)), placed]

    body = op.builder.subgraph(
        paint,
        [
            ir.val("instance", ir.DataType.INT64, []),
            ir.val("go_on", ir.DataType.BOOL, []),
            ir.val("map_before", small, ["H", "W"]),
            ir.val("next_id", ir.DataType.INT32, []),
        ],
        [
            ir.val("still_go_on", ir.DataType.BOOL, []),
            ir.val("map_after", small, ["H", "W"]),
            ir.val("following_id", ir.DataType.INT32, []),
            ir.val("placed", ir.DataType.BOOL, []),
        ],
        name="paint",
    )
    count = op.Squeeze(op.Shape(found.scores))
    empty, first_id = op.Expand(nothing, sizes.output), op.Cast(1, to=ir.DataType.INT32)
    id_map, _, placed = op.Loop(count, op.Cast(1, to=ir.DataType.BOOL), empty, first_id, body=body, _outputs=3)
    placed = op.Reshape(placed, [-1])
    categories_of = op.Gather(constant(op, np.array([c.id for c in categories.things], dtype=np.int64)), found.labels)
    return Things(
        op.Cast(id_map, to=ir.DataType.INT32),
        op.Compress(categories_of, placed, axis=0),
        op.Compress(found.scores, placed, axis=0),
    )


def _count(op: OpBuilder, mask: ir.Value) -> ir.Value:
    """Pixels of a mask. Numbers with a point, exact in one line, are added up several times as fast as integers."""
    lines = op.ReduceSum(op.Cast(mask, to=ir.DataType.FLOAT), [1], keepdims=0)
    return op.ReduceSum(op.Cast(lines, to=ir.DataType.INT32), keepdims=0)


def _shares(op: OpBuilder, centres: ir.Value, cells: ir.Value) -> ir.Value:
    """How much each pixel around a box takes of each cell of its patch, along one axis.

    Bilinear, as `paste_mask`: of the two cells next to its centre, and nothing from outside of the box. Products with
    these are several times as fast as GridSample.
    """
    return op.Relu(op.Sub(1.0, op.Abs(op.Sub(centres, cells))))


def paint_stuff(
    op: OpBuilder, things: Things, labels: ir.Value, categories: Categories, thresholds: Thresholds
) -> Painted:
    """Stuff where no instance is: see `merge`.

    Args:
        labels: [H, W] int32: 0 = a thing, 1..S = stuff.
    """
    beyond = op.Add(op.Cast(op.Shape(things.scores), to=ir.DataType.INT32), 1)
    numbers = op.Where(op.Equal(things.id_map, 0), op.Add(labels, beyond), things.id_map)
    stuff = constant(op, np.array([0, *(c.id for c in categories.stuff)], dtype=np.int64))
    enough = op.Expand(op.Max(thresholds.min_stuff_area, 1), [len(categories.stuff)])
    return _describe(op, numbers, things, stuff, op.Concat([_NEVER], enough, axis=0))


def without_stuff(op: OpBuilder, things: Things) -> Painted:
    """Instances alone."""
    nothing = constant(op, np.zeros(0, np.int64))
    return _describe(op, things.id_map, things, nothing, nothing)


def _describe(op: OpBuilder, numbers: ir.Value, things: Things, stuff: ir.Value, enough: ir.Value) -> Painted:
    """Segments of what is large enough on a map.

    Args:
        numbers: [H, W] int32: 0 is void, 1..N are things, from N + 1 on stuff.
        stuff: int64, categories of the numbers from N + 1 on.
        enough: int64, pixels that each of these needs.
    """
    count = op.Shape(things.scores)
    categories = op.Concat([0], things.categories, stuff, axis=0)
    scores = op.Concat([0.0], things.scores, op.Expand(1.0, op.Shape(stuff)), axis=0)
    areas, x0, y0, x1, y1 = _measure(op, numbers, op.Shape(categories))
    kept = op.GreaterOrEqual(areas, op.Concat([_NEVER], op.Expand(1, count), enough, axis=0))
    ids = op.Where(kept, op.CumSum(op.Cast(kept, to=ir.DataType.INT64), 0), 0)
    every = op.Range(0, op.Squeeze(op.Shape(ids)), 1)
    is_thing = op.Cast(op.LessOrEqual(every, count), to=ir.DataType.INT64)
    columns = [ids, categories, is_thing, areas, x0, y0, op.Sub(x1, x0), op.Sub(y1, y0)]
    segments = op.Compress(op.Concat(*(op.Unsqueeze(each, [1]) for each in columns), axis=1), kept, axis=0)
    id_map = op.Gather(op.Cast(ids, to=ir.DataType.INT32), numbers)
    return Painted(id_map, op.Cast(segments, to=ir.DataType.INT32), op.Compress(scores, kept, axis=0))


def _measure(op: OpBuilder, numbers: ir.Value, count: ir.Value) -> list[ir.Value]:
    """Pixels of each number on a map, its first column and row, and those behind its last: [count] int64 each.

    Measured are runs of one number along a row, of which there are far fewer than pixels.
    """
    height, width = op.Split(op.Shape(numbers), num_outputs=2, _outputs=2)
    outside = op.Expand(op.Cast(-1, to=ir.DataType.INT32), op.Concat(height, [1], axis=0))
    before = op.Concat(outside, op.Slice(numbers, [0], [-1], [1]), axis=1)
    row, column = (
        op.Squeeze(each, [0])
        for each in op.Split(op.NonZero(op.Not(op.Equal(numbers, before))), num_outputs=2, _outputs=2)
    )  # [R]
    start = op.Add(op.Mul(row, width), column)
    length = op.Sub(op.Concat(op.Slice(start, [1], [np.iinfo(np.int64).max]), op.Mul(height, width), axis=0), start)
    own = op.Gather(op.Reshape(numbers, [-1]), start)
    return [
        op.ScatterElements(op.Expand(initial, count), own, values, axis=0, reduction=reduction)
        for reduction, initial, values in (
            ("add", 0, length),
            ("min", width, column),
            ("min", height, row),
            ("max", 0, op.Add(column, length)),
            ("max", 0, op.Add(row, 1)),
        )
    ]
