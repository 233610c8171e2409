"""Last part of the graph: masks are pasted one after the other, then stuff fills what is free."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.categories import Categories
from panoptic_blend.exporting.detections import DetectedValues
from panoptic_blend.exporting.image import Sizes, constant
from panoptic_blend.pasting import FOREGROUND


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
) -> Painted:
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
    margins = op.Concat(none, before, none, op.Sub(width, behind), axis=1)
    rows, columns = (op.Range(0, op.Squeeze(length), 1) for length in (height, width))
    row_numbers = op.Unsqueeze(rows, [1])
    row_centres, column_centres = (
        op.Unsqueeze(op.Add(op.Cast(each, to=ir.DataType.FLOAT), 0.5), [axis])
        for each, axis in ((rows, 1), (columns, 0))
    )
    cells = np.arange(resolution, dtype=np.float32) + 0.5
    row_cells, column_cells = constant(op, cells[None]), constant(op, cells[:, None])
    small = ir.DataType.UINT8 if most_instances < 256 else ir.DataType.INT32  # the map is copied at every instance
    nothing = op.Cast(0, to=small)

    def paint(
        op: OpBuilder, index: ir.Value, condition: ir.Value, id_map: ir.Value, next_id: ir.Value
    ) -> list[ir.Value]:
        def own(table: ir.Value) -> ir.Value:
            return op.Gather(table, index, axis=0)

        x0, x1, y0, y1 = own(before), own(behind), own(above), own(below)
        by_row = _shares(op, op.Slice(row_centres, y0, y1, [0]), own(top), own(y_scale), row_cells)
        by_column = _shares(op, op.Slice(column_centres, x0, x1, [1]), own(left), own(x_scale), column_cells)
        mask = op.GreaterOrEqual(op.MatMul(op.MatMul(by_row, own(patches)), by_column), FOREGROUND)
        lines = op.Slice(id_map, y0, y1, [0])
        taken = op.Cast(op.Slice(lines, x0, x1, [1]), to=ir.DataType.BOOL)
        free = op.And(mask, op.Not(taken))
        area, free_area = (op.ReduceSum(op.Cast(each, to=ir.DataType.INT32), keepdims=0) for each in (mask, free))
        covered = op.Div(
            op.Cast(op.Sub(area, free_area), to=ir.DataType.FLOAT), op.Cast(op.Max(area, 1), to=ir.DataType.FLOAT)
        )
        placed = op.And(op.Cast(free_area, to=ir.DataType.BOOL), op.LessOrEqual(covered, thresholds.max_overlap))
        painted = op.Where(op.And(free, placed), op.Cast(next_id, to=small), nothing)
        painted = op.BitwiseOr(lines, op.Pad(painted, own(margins)))
        id_map = op.ScatterND(id_map, op.Slice(row_numbers, y0, y1, [0]), painted)
        there = op.Cast(free, to=ir.DataType.UINT8)
        extent = op.Concat(*_extent(op, there, 0), *_extent(op, there, 1), axis=0)
        following = op.Add(next_id, op.Cast(placed, to=ir.DataType.INT32))
        return [op.Identity(condition), id_map, following, placed, free_area, extent]

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
            ir.val("free_area", ir.DataType.INT32, []),
            ir.val("extent", ir.DataType.INT64, [4]),
        ],
        name="paint",
    )
    count = op.Squeeze(op.Shape(found.scores))
    empty, first_id = op.Expand(nothing, sizes.output), op.Cast(1, to=ir.DataType.INT32)
    id_map, _, placed, areas, extents = op.Loop(
        count, op.Cast(1, to=ir.DataType.BOOL), empty, first_id, body=body, _outputs=5
    )
    placed = op.Reshape(placed, [-1])
    ids = op.CumSum(op.Cast(placed, to=ir.DataType.INT64), 0)
    categories_of = op.Gather(constant(op, np.array([c.id for c in categories.things], dtype=np.int64)), found.labels)
    x0, x1, y0, y1 = op.Split(op.Reshape(extents, [-1, 4]), num_outputs=4, axis=1, _outputs=4)
    areas = op.Cast(op.Reshape(areas, [-1]), to=ir.DataType.INT64)
    numbers = [op.Unsqueeze(each, [1]) for each in (ids, categories_of, op.Min(ids, 1), areas)]
    numbers += [op.Add(before, x0), op.Add(above, y0), op.Sub(op.Add(x1, 1), x0), op.Sub(op.Add(y1, 1), y0)]
    segments = op.Cast(op.Compress(op.Concat(*numbers, axis=1), placed, axis=0), to=ir.DataType.INT32)
    return Painted(op.Cast(id_map, to=ir.DataType.INT32), segments, op.Compress(found.scores, placed, axis=0))


def _shares(op: OpBuilder, centres: ir.Value, start: ir.Value, scale: ir.Value, cells: ir.Value) -> ir.Value:
    """How much each pixel around a box takes of each cell of its patch, along one axis.

    Bilinear, as `paste_mask`: of the two cells next to its centre, and nothing from outside of the box. Products with
    these are several times as fast as GridSample.
    """
    return op.Relu(op.Sub(1.0, op.Abs(op.Sub(op.Mul(op.Sub(centres, start), scale), cells))))


def _extent(op: OpBuilder, mask: ir.Value, axis: int) -> list[ir.Value]:
    """[1] each, the first and the last line that has a pixel, of lines along `axis`."""
    lines = op.ReduceMax(mask, [axis], keepdims=0)
    return [op.ArgMax(lines, axis=0), op.ArgMax(lines, axis=0, select_last_index=1)]


def paint_stuff(
    op: OpBuilder, things: Painted, labels: ir.Value, categories: Categories, thresholds: Thresholds
) -> Painted:
    """Stuff where no instance is: see `merge`.

    Args:
        things: the map of instances.
        labels: [H, W] int32: 0 = a thing, 1..S = stuff.
    """
    count = len(categories.stuff) + 1
    free = op.Equal(things.id_map, 0)
    labels = op.Where(free, labels, op.Cast(0, to=ir.DataType.INT32))
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
    line = op.Unsqueeze(op.Cast(op.Range(0, op.Squeeze(length), 1), to=ir.DataType.INT32), [1 - axis])
    place = op.Reshape(op.Add(op.Mul(labels, op.Cast(length, to=ir.DataType.INT32)), line), [-1])
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
