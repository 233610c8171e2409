"""Layers of mask heads as nodes of a graph: regions of maps, convolutions everywhere and at detections, growing."""

from __future__ import annotations

import numpy as np
from onnxscript import OpBuilder, ir
from torch import nn

from panoptic_blend.exporting.detections import DetectedValues
from panoptic_blend.exporting.image import constant
from panoptic_blend.modeling.network.bases import BASES_STRIDE


def crop(
    op: OpBuilder,
    maps: ir.Value | None,
    found: DetectedValues,
    resolution: int,
    pooling: str,
    map_of_box: ir.Value | None = None,
) -> ir.Value:
    """[N, K, R, R] regions of maps [B, K, h, w], see `masks.crop`; without `map_of_box` the first map is cut."""
    index = op.Mul(found.labels, 0) if map_of_box is None else map_of_box
    if pooling == "nearest":
        return _crop_nearest(op, maps, found, resolution, index)
    return op.RoiAlign(
        maps,
        found.boxes,
        index,
        output_height=resolution,
        output_width=resolution,
        sampling_ratio=1,
        spatial_scale=1 / BASES_STRIDE,
        coordinate_transformation_mode="half_pixel",
    )


def _crop_nearest(
    op: OpBuilder, maps: ir.Value | None, found: DetectedValues, resolution: int, index: ir.Value
) -> ir.Value:
    boxes = op.Div(found.boxes, float(BASES_STRIDE))
    start, stop = op.Split(op.Unsqueeze(boxes, [2]), num_outputs=2, axis=1, _outputs=2)  # [N, 2, 1]
    steps = constant(op, ((np.arange(resolution, dtype=np.float32) + 0.5) / resolution)[None, None])
    samples = op.Cast(op.Floor(op.Add(start, op.Mul(steps, op.Sub(stop, start)))), to=ir.DataType.INT64)
    x, y = op.Split(samples, num_outputs=2, axis=1, _outputs=2)  # [N, 1, R]
    height, width = op.Split(op.Shape(maps, start=2, end=4), num_outputs=2, _outputs=2)
    cells, inside = [], []
    for places, length in ((y, height), (x, width)):
        last = op.Sub(length, 1)
        cells.append(op.Max(op.Min(places, last), 0))
        inside.append(op.And(op.GreaterOrEqual(places, 0), op.LessOrEqual(places, last)))
    row, column = op.Transpose(cells[0], perm=[0, 2, 1]), cells[1]  # [N, R, 1], [N, 1, R]
    flat = op.Add(op.Mul(op.Add(op.Mul(op.Unsqueeze(index, [1, 2]), height), row), width), column)
    table = op.Reshape(op.Transpose(maps, perm=[0, 2, 3, 1]), op.Concat([-1], op.Shape(maps, start=1, end=2), axis=0))
    regions = op.Transpose(op.Gather(table, flat), perm=[0, 3, 1, 2])
    seen = op.And(op.Transpose(inside[0], perm=[0, 2, 1]), inside[1])
    return op.Where(op.Unsqueeze(seen, [1]), regions, 0.0)


def conv3x3_at(op: OpBuilder, layer: nn.Conv2d, levels: list[ir.Value], found: DetectedValues) -> ir.Value:
    """[N, out] of a 3x3 convolution at the detections' cells only, see `conv3x3_at`."""
    steps = constant(op, np.array([-1, 0, 1])[None])  # [1, 3]
    neighbours, order = [], []
    for number, level in enumerate(levels):
        own = op.Squeeze(op.NonZero(op.Equal(found.level, number)), [0])  # [n], the detections of this level
        places, inside = [], []
        for axis, place in ((2, found.row), (3, found.column)):
            moved = op.Add(op.Unsqueeze(op.Gather(place, own), [1]), steps)  # [n, 3]
            last = op.Sub(op.Shape(level, start=axis, end=axis + 1), 1)
            places.append(op.Max(op.Min(moved, last), 0))
            inside.append(op.And(op.GreaterOrEqual(moved, 0), op.LessOrEqual(moved, last)))
        row_start = op.Mul(places[0], op.Shape(level, start=3, end=4))
        flat = op.Add(op.Unsqueeze(row_start, [2]), op.Unsqueeze(places[1], [1]))  # [n, 3, 3]
        seen = op.And(op.Unsqueeze(inside[0], [2]), op.Unsqueeze(inside[1], [1]))
        flat, seen = (op.Transpose(op.Reshape(each, [-1, 9]), perm=[1, 0]) for each in (flat, seen))  # [9, n]
        values = op.Gather(op.Reshape(level, [layer.in_channels, -1]), flat, axis=1)  # [C, 9, n]
        neighbours.append(op.Where(op.Unsqueeze(seen, [0]), values, 0.0))
        order.append(own)
    count = op.Shape(found.row)
    joined = op.Concat(*neighbours, axis=2)
    joined = op.Reshape(joined, op.Concat([layer.in_channels * 9], count, axis=0), allowzero=1)
    weight, bias = layer_weights(op, layer)
    by_level = op.Gemm(joined, op.Reshape(weight, [layer.out_channels, -1]), bias, transA=1, transB=1)
    _, back = op.TopK(op.Concat(*order, axis=0), count, largest=0, _outputs=2)
    return op.Gather(by_level, back, axis=0)


def convolve(op: OpBuilder, layer: nn.Module, x: ir.Value) -> ir.Value:
    """A convolution of stride 1 at every cell."""
    assert isinstance(layer, nn.Conv2d)
    assert not isinstance(layer.padding, str)
    padding = layer.padding[0]
    return op.Conv(x, *layer_weights(op, layer), kernel_shape=list(layer.kernel_size), pads=[padding] * 4)


def layer_weights(op: OpBuilder, layer: nn.Conv2d | nn.ConvTranspose2d) -> list[ir.Value]:
    """Weights of a layer and its biases, where it has some, as tensors of the graph."""
    parameters = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    return [constant(op, parameter.detach().cpu().float().numpy()) for parameter in parameters]


def grow(op: OpBuilder, x: ir.Value, side: int, interpolation: str) -> ir.Value:
    """[N, K, M, M] -> [N, K, side, side], as `torch.nn.functional.interpolate`."""
    size = op.Concat(op.Shape(x, start=0, end=2), [side, side], axis=0)
    if interpolation == "nearest":
        return op.Resize(
            x, None, None, size, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
    return op.Resize(x, None, None, size, mode="linear", coordinate_transformation_mode="half_pixel")
