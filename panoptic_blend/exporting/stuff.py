"""Fourth part of the graph: the most likely class of every pixel, as `postprocess.stuff` finds it.

A pixel is mixed from 3 x 3 cells at most: upsampling and resizing read two neighbours each. Where one class leads in
all of them it leads in the mean, so that only the other pixels are interpolated, some at a time.
"""

from __future__ import annotations

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.exporting.image import Sizes, channels_of, constant
from panoptic_blend.modeling.network.semantic import STRIDE

_TAPS = 3
_PIXELS_AT_ONCE = 1 << 13


def label_pixels(op: OpBuilder, logits: ir.Value, sizes: Sizes) -> ir.Value:
    """Logits [1, C, h, w] at stride 4 of the padded picture -> labels [H, W] int32."""
    classes = channels_of(logits)
    cells = op.Shape(logits, start=2, end=4)
    width = op.Gather(cells, 1)
    (top, row_weights), (left, column_weights) = (_taps(op, cells, sizes, axis) for axis in (0, 1))
    leading = op.Cast(op.ArgMax(logits, axis=1), to=ir.DataType.FLOAT)  # [1, 1, h, w]
    highest = op.MaxPool(leading, kernel_shape=[_TAPS, _TAPS])
    lowest = op.Neg(op.MaxPool(op.Neg(leading), kernel_shape=[_TAPS, _TAPS]))
    agreed = op.Cast(op.Where(op.Equal(lowest, highest), lowest, -1.0), to=ir.DataType.INT32)
    labels = op.Gather(op.Gather(op.Squeeze(agreed, [0, 1]), top, axis=0), left, axis=1)

    table = op.Transpose(op.Reshape(logits, [classes, -1]), perm=[1, 0])  # [h w, C]
    steps = constant(op, np.arange(_TAPS))
    places = op.Transpose(op.NonZero(op.Less(labels, op.Cast(0, to=ir.DataType.INT32))), perm=[1, 0])  # [M, 2]
    count = op.Shape(places, start=0, end=1)

    def mix(op: OpBuilder, turn: ir.Value, condition: ir.Value) -> list[ir.Value]:
        index = op.Add(op.Mul(turn, _PIXELS_AT_ONCE), constant(op, np.arange(_PIXELS_AT_ONCE)))
        some = op.Gather(places, op.Min(index, op.Sub(count, 1)), axis=0)  # the last turn repeats the last pixel
        row, column = op.Split(some, num_outputs=2, axis=1, _outputs=2)  # [P, 1]
        y = op.Add(op.Gather(top, row), steps)  # [P, 3]
        x = op.Add(op.Gather(left, column), steps)
        cell = op.Add(op.Unsqueeze(op.Mul(y, width), [2]), op.Unsqueeze(x, [1]))  # [P, 3, 3]
        by_row, by_column = (
            op.Squeeze(op.Gather(weights, place), [1])
            for weights, place in ((row_weights, row), (column_weights, column))
        )
        weights = op.Reshape(op.Mul(op.Unsqueeze(by_row, [2]), op.Unsqueeze(by_column, [1])), [-1, 1, _TAPS**2])
        values = op.Gather(table, op.Reshape(cell, [-1, _TAPS**2]), axis=0)  # [P, 9, C]
        mixed = op.Squeeze(op.MatMul(weights, values), [1])
        return [op.Identity(condition), op.Cast(op.ArgMax(mixed, axis=1, keepdims=0), to=ir.DataType.INT32)]

    body = op.builder.subgraph(
        mix,
        [ir.val("turn", ir.DataType.INT64, []), ir.val("mix_on", ir.DataType.BOOL, [])],
        [ir.val("still_mix_on", ir.DataType.BOOL, []), ir.val("mixed", ir.DataType.INT32, [_PIXELS_AT_ONCE])],
        name="mix",
    )
    turns = op.Div(op.Add(count, _PIXELS_AT_ONCE - 1), _PIXELS_AT_ONCE)
    mixed = op.Loop(op.Squeeze(turns), op.Cast(1, to=ir.DataType.BOOL), body=body)
    found = op.Slice(op.Reshape(mixed, [-1]), [0], count)
    return op.ScatterND(labels, places, found)


def _taps(op: OpBuilder, cells: ir.Value, sizes: Sizes, axis: int) -> tuple[ir.Value, ir.Value]:
    """Which cells an output pixel is mixed from, along one axis: the first [length], and weights [length, 3]."""
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
    return op.Cast(first, to=ir.DataType.INT64), weights
