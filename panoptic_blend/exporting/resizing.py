"""A picture in the graph at the size that the network sees, to the byte as torch resizes it.

torch, like Pillow, resizes bytes with weights of whole numbers, along rows first and rounded in between. ONNX has an
operator for this, but runtimes round it otherwise, and a level in a byte moves a score by as much as a thousandth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.config import PredictionSettings
from panoptic_blend.exporting.image import Sizes, constant

_LARGEST_WEIGHT = 1 << 15
_MOST_BITS = 22


def resize_picture(op: OpBuilder, picture: ir.Value, settings: PredictionSettings) -> tuple[ir.Value, Sizes]:
    """uint8 [H, W, 3] RGB -> uint8 [1, 3, h, w], as `resizing.resize_image`."""
    size = op.Shape(picture, start=0, end=2)
    seen = _output_size(op, size, settings)
    resized = op.Unsqueeze(op.Transpose(resize_bytes(op, picture, size, seen), perm=[2, 0, 1]), [0])
    return resized, Sizes(size, seen)


def _output_size(op: OpBuilder, size: ir.Value, settings: PredictionSettings) -> ir.Value:
    """`resizing.output_size`, in double precision as there."""
    exact = op.Cast(size, to=ir.DataType.DOUBLE)
    scale = op.Min(
        op.Div(constant(op, np.float64(settings.shortest_edge)), op.ReduceMin(exact, keepdims=0)),
        op.Div(constant(op, np.float64(settings.longest_edge)), op.ReduceMax(exact, keepdims=0)),
    )
    rounded = op.Floor(op.Add(op.Mul(exact, scale), constant(op, np.float64(0.5))))
    return op.Max(op.Cast(rounded, to=ir.DataType.INT64), [1])


def resize_bytes(op: OpBuilder, picture: ir.Value, size: ir.Value, resized: ir.Value) -> ir.Value:
    """uint8 [H, W, 3] -> uint8 [h, w, 3], as `resizing.resize_image`: bilinear with antialiasing.

    Args:
        size: int64 [2], H and W.
        resized: int64 [2], h and w.
    """

    def keep(op: OpBuilder) -> list[ir.Value]:
        return [op.Identity(picture)]

    def change(op: OpBuilder) -> list[ir.Value]:
        height, width = (op.Gather(size, [axis]) for axis in (0, 1))
        rows, columns = (op.Gather(resized, [axis]) for axis in (0, 1))
        values = op.Mul(columns, 3)  # of a row
        wide = _mix(op, picture, 1, width, columns, op.Concat(height, values, axis=0))
        high = _mix(op, wide, 0, height, rows, op.Concat(rows, values, axis=0))
        return [op.Reshape(high, op.Concat(rows, columns, [3], axis=0))]

    def branch(build: Callable[[OpBuilder], list[ir.Value]], name: str) -> ir.Graph:
        return op.builder.subgraph(build, [], [ir.val(name, ir.DataType.UINT8, ["h", "w", 3])], name=name)

    same = op.Equal(op.ReduceSum(op.Abs(op.Sub(size, resized)), keepdims=0), 0)
    return op.If(same, then_branch=branch(keep, "kept"), else_branch=branch(change, "changed"))


def _mix(op: OpBuilder, pixels: ir.Value, axis: int, length: ir.Value, wanted: ir.Value, shape: ir.Value) -> ir.Value:
    """Mix lines of pixels from those around them, a Loop over the ones that lie next to each other.

    Args:
        pixels: uint8, with `length` lines along `axis`.
        wanted: int64 [1], the number of lines to come.
        shape: int64 [2] to come, the three values of a pixel side by side.
    """
    cells, weights, bits, taps = _weights(op, op.Squeeze(length), op.Squeeze(wanted))
    unit = op.Cast(op.BitShift(constant(op, np.uint32(1)), bits, direction="LEFT"), to=ir.DataType.INT32)
    half = op.Expand(op.Div(unit, constant(op, np.int32(2))), shape)

    def add(op: OpBuilder, tap: ir.Value, condition: ir.Value, total: ir.Value) -> list[ir.Value]:
        lines = op.Gather(pixels, op.Gather(cells, tap, axis=0), axis=axis)
        weight = op.Gather(weights, tap, axis=0)
        if axis == 0:
            weight = op.Unsqueeze(weight, [1])
        else:  # once for each of a pixel's values, since long rows are multiplied fastest
            weight = op.Reshape(op.Expand(op.Unsqueeze(weight, [1]), [1, 3]), [1, -1])
        values = op.Cast(op.Reshape(lines, shape), to=ir.DataType.INT32)
        return [op.Identity(condition), op.Add(total, op.Mul(values, weight))]

    body = op.builder.subgraph(
        add,
        [
            ir.val("tap", ir.DataType.INT64, []),
            ir.val("add_on", ir.DataType.BOOL, []),
            ir.val("total_before", ir.DataType.INT32, ["rows", "values"]),
        ],
        [
            ir.val("still_add_on", ir.DataType.BOOL, []),
            ir.val("total_after", ir.DataType.INT32, ["rows", "values"]),
        ],
        name="add",
    )
    total = op.Loop(taps, op.Cast(1, to=ir.DataType.BOOL), half, body=body)
    return op.Cast(op.BitShift(op.Cast(total, to=ir.DataType.UINT32), bits, direction="RIGHT"), to=ir.DataType.UINT8)


def _weights(op: OpBuilder, length: ir.Value, wanted: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """Which lines a line is mixed from, and how much of each, by torch's rules.

    Returns:
        cells [taps, wanted] int64, weights [taps, wanted] int32, uint32 bits that these are shifted by, and taps.
    """
    scale = op.Div(op.Cast(length, to=ir.DataType.DOUBLE), op.Cast(wanted, to=ir.DataType.DOUBLE))
    one, half = constant(op, np.float64(1)), constant(op, np.float64(0.5))
    reach = op.Max(scale, one)
    centres = op.Mul(op.Add(op.Cast(op.Range(0, wanted, 1), to=ir.DataType.DOUBLE), half), scale)
    first = op.Max(op.Cast(op.Add(op.Sub(centres, reach), half), to=ir.DataType.INT64), 0)
    behind = op.Min(op.Cast(op.Add(op.Add(centres, reach), half), to=ir.DataType.INT64), length)
    taps = op.ReduceMax(op.Sub(behind, first), keepdims=0)
    cells = op.Add(op.Unsqueeze(op.Range(0, taps, 1), [1]), op.Unsqueeze(first, [0]))  # [taps, wanted]
    away = op.Add(op.Sub(op.Cast(cells, to=ir.DataType.DOUBLE), centres), half)
    shares = op.Relu(op.Sub(one, op.Abs(op.Mul(away, op.Div(one, reach)))))
    shares = op.Where(op.Less(cells, behind), shares, constant(op, np.float64(0)))
    shares = op.Div(shares, op.ReduceSum(shares, [0]))
    doublings = constant(op, 2.0 ** np.arange(1, _MOST_BITS + 1))
    small = op.Less(op.Floor(op.Add(op.Mul(op.ReduceMax(shares, keepdims=0), doublings), half)), float(_LARGEST_WEIGHT))
    bits = op.ReduceSum(op.Cast(small, to=ir.DataType.INT64), keepdims=0)  # the most that keep weights small
    unit = op.Pow(constant(op, np.float64(2)), op.Cast(bits, to=ir.DataType.DOUBLE))
    weights = op.Cast(op.Floor(op.Add(op.Mul(shares, unit), half)), to=ir.DataType.INT32)
    return op.Min(cells, op.Sub(length, 1)), weights, op.Cast(bits, to=ir.DataType.UINT32), taps
