"""Fourth part of the graph: the most likely class of every pixel, as `postprocess.stuff` finds it.

A pixel is mixed from a window of 3 x 3 cells at most: upsampling and resizing read two neighbours each. Where one class
leads in all of them it leads in the mean, so that only the pixels of other windows are interpolated, some windows at a
time, each of which is read once for all of its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.exporting.image import Sizes, channels_of, constant
from panoptic_blend.modeling.network.semantic import STRIDE

_TAPS = 3
_PIXELS_AT_ONCE = 1 << 13
_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class _Lines:
    """The lines of pixels along an axis, and those that are mixed from the same cells, which lie next to each other.

    Attributes:
        cell: [length] int64, the first cell of every line.
        group_cell: [G] int64, the first cell of every group.
        members: [G, most] int64, the lines of every group; the last line again where a group has fewer.
        most: int64 [1], lines of the largest group.
        weights: [G, most, 3] of the cells from the first one on.
    """

    cell: ir.Value
    group_cell: ir.Value
    members: ir.Value
    most: ir.Value
    weights: ir.Value


def label_pixels(op: OpBuilder, logits: ir.Value, sizes: Sizes) -> ir.Value:
    """Logits [1, C, h, w] at stride 4 of the padded picture -> labels [H, W] int32."""
    cells = op.Shape(logits, start=2, end=4)
    table = op.Transpose(op.Reshape(logits, [channels_of(logits), -1]), perm=[1, 0])  # [h w, C]
    rows, columns = (_lines(op, cells, sizes, axis) for axis in (0, 1))
    leading = op.Cast(op.ArgMax(table, axis=1), to=ir.DataType.FLOAT)
    leading = op.Reshape(leading, op.Concat([1, 1], cells, axis=0))
    highest = op.MaxPool(leading, kernel_shape=[_TAPS, _TAPS])
    lowest = op.Neg(op.MaxPool(op.Neg(leading), kernel_shape=[_TAPS, _TAPS]))
    agreed = op.Cast(op.Where(op.Equal(lowest, highest), lowest, -1.0), to=ir.DataType.INT32)
    agreed = op.Squeeze(agreed, [0, 1])
    labels = op.Gather(op.Gather(agreed, columns.cell, axis=1), rows.cell, axis=0)  # whole rows are copied fastest
    of_groups = op.Gather(op.Gather(agreed, columns.group_cell, axis=1), rows.group_cell, axis=0)
    undecided = op.NonZero(op.Less(of_groups, op.Cast(0, to=ir.DataType.INT32)))  # [2, M] windows
    mixed = _mix_windows(op, table, op.Gather(cells, 1), rows, columns, undecided)
    row, column = (op.Gather(undecided, axis, axis=0) for axis in (0, 1))
    in_row = op.Mul(op.Unsqueeze(op.Gather(rows.members, row), [2]), op.Gather(sizes.output, 1))  # [M, R, 1]
    places = op.Reshape(op.Add(in_row, op.Unsqueeze(op.Gather(columns.members, column), [1])), [-1])
    # The largest of equal ones, since a place may be there several times.
    found = op.ScatterElements(op.Reshape(labels, [-1]), places, mixed, axis=0, reduction="max")
    return op.Reshape(found, sizes.output)


def _mix_windows(
    op: OpBuilder, table: ir.Value, width: ir.Value, rows: _Lines, columns: _Lines, windows: ir.Value
) -> ir.Value:
    """The most likely class of every pixel of some windows, a Loop over them: [M R Q] int32.

    Args:
        table: [cells, C] logits.
        width: int64, cells in a row.
        windows: [2, M] int64, each a group of `rows` (of R lines at most) and one of `columns` (of Q).
    """
    steps = constant(op, np.arange(_TAPS))
    count, pixels = op.Shape(windows, start=1, end=2), op.Mul(rows.most, columns.most)
    at_once = op.Max(op.Div([_PIXELS_AT_ONCE], pixels), 1)
    turns = op.Div(op.Sub(op.Add(count, at_once), 1), at_once)
    every = op.Range(0, op.Squeeze(at_once), 1)
    square = op.Concat([1], rows.most, columns.most, [_TAPS, _TAPS], axis=0)
    flat = op.Concat([-1], pixels, [_TAPS**2], axis=0)
    by_row, by_column = (  # [G, R Q, 9] each, so that a window's own are multiplied without broadcasting
        op.Reshape(op.Expand(op.Unsqueeze(each.weights, axes), square), flat)
        for each, axes in ((rows, [2, 4]), (columns, [1, 3]))
    )

    def mix(op: OpBuilder, turn: ir.Value, condition: ir.Value) -> list[ir.Value]:
        index = op.Add(op.Mul(turn, at_once), every)
        some = op.Gather(windows, op.Min(index, op.Sub(count, 1)), axis=1)  # the last turn repeats the last window
        row, column = (op.Gather(some, axis, axis=0) for axis in (0, 1))  # [P]
        y = op.Add(op.Unsqueeze(op.Gather(rows.group_cell, row), [1]), steps)  # [P, 3]
        x = op.Add(op.Unsqueeze(op.Gather(columns.group_cell, column), [1]), steps)
        cell = op.Add(op.Unsqueeze(op.Mul(y, width), [2]), op.Unsqueeze(x, [1]))  # [P, 3, 3]
        weights = op.Mul(op.Gather(by_row, row), op.Gather(by_column, column))  # [P, R Q, 9]
        values = op.Gather(table, op.Reshape(cell, [-1, _TAPS**2]), axis=0)  # [P, 9, C]
        likeliest = op.ArgMax(op.MatMul(weights, values), axis=2, keepdims=0)
        return [op.Identity(condition), op.Cast(likeliest, to=ir.DataType.INT32)]

    body = op.builder.subgraph(
        mix,
        [ir.val("turn", ir.DataType.INT64, []), ir.val("mix_on", ir.DataType.BOOL, [])],
        [ir.val("still_mix_on", ir.DataType.BOOL, []), ir.val("mixed", ir.DataType.INT32, ["windows", "pixels"])],
        name="mix",
    )
    mixed = op.Loop(op.Squeeze(turns), op.Cast(1, to=ir.DataType.BOOL), body=body)
    return op.Slice(op.Reshape(mixed, [-1]), [0], op.Mul(count, pixels))


def _lines(op: OpBuilder, cells: ir.Value, sizes: Sizes, axis: int) -> _Lines:
    cell, own, weights = _taps(op, cells, sizes, axis)
    first = op.Unsqueeze(op.Cast(1, to=ir.DataType.BOOL), [0])
    changes = op.Not(op.Equal(op.Slice(own, [1], [_END]), op.Slice(own, [0], [-1])))
    start = op.Squeeze(op.NonZero(op.Concat(first, changes, axis=0)), [0])  # [G]
    stop = op.Concat(op.Slice(start, [1], [_END]), op.Shape(cell), axis=0)
    lengths = op.Sub(stop, start)
    most = op.ReduceMax(lengths)
    steps = op.Unsqueeze(op.Range(0, op.Squeeze(most), 1), [0])
    members = op.Add(op.Unsqueeze(start, [1]), op.Min(steps, op.Unsqueeze(op.Sub(lengths, 1), [1])))
    return _Lines(cell, op.Gather(cell, start), members, most, op.Gather(weights, members, axis=0))


def _taps(op: OpBuilder, cells: ir.Value, sizes: Sizes, axis: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Which cells an output pixel is mixed from, along one axis.

    Returns:
        [length] the first cell; [length] which it would be if cells went on beyond the edges, so that groups of pixels
        are as small there as elsewhere; [length, 3] weights.
    """
    last_cell = op.Cast(op.Sub(op.Gather(cells, axis), 1), to=ir.DataType.FLOAT)
    image, length = (op.Gather(size, axis) for size in (sizes.image, sizes.output))
    image_pixels, pixels = (op.Cast(each, to=ir.DataType.FLOAT) for each in (image, length))
    centres = op.Add(op.Cast(op.Range(0, length, 1), to=ir.DataType.FLOAT), 0.5)
    place = op.Max(op.Sub(op.Mul(centres, op.Div(image_pixels, pixels)), 0.5), 0.0)
    before = op.Floor(place)
    share = op.Sub(place, before)
    after = op.Min(op.Add(before, 1.0), op.Sub(image_pixels, 1.0))
    parts = []  # of (cell, weight)
    for pixel, weight in ((before, op.Sub(1.0, share)), (after, share)):
        place = op.Max(op.Sub(op.Mul(op.Add(pixel, 0.5), 1 / STRIDE), 0.5), 0.0)
        cell = op.Floor(place)
        part = op.Sub(place, cell)
        parts.append((cell, op.Mul(weight, op.Sub(1.0, part))))
        parts.append((op.Min(op.Add(cell, 1.0), last_cell), op.Mul(weight, part)))
    first = op.Min(parts[0][0], op.Sub(last_cell, float(_TAPS - 1)))
    weights = None
    for cell, weight in parts:
        own = op.Equal(op.Unsqueeze(op.Sub(cell, first), [1]), constant(op, np.arange(_TAPS, dtype=np.float32)))
        spread = op.Where(own, op.Unsqueeze(weight, [1]), 0.0)
        weights = spread if weights is None else op.Add(weights, spread)
    assert weights is not None
    endless = op.Floor(op.Sub(op.Mul(op.Add(before, 0.5), 1 / STRIDE), 0.5))
    return op.Cast(first, to=ir.DataType.INT64), endless, weights
