"""Third part of the graph: each mask head again, at the kept places."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.errors import ConfigError
from panoptic_blend.exporting.detections import DetectedValues
from panoptic_blend.exporting.image import constant
from panoptic_blend.exporting.layers import conv3x3_at, convolve, crop, grow, layer_weights
from panoptic_blend.modeling.network.masks.blender import Blender
from panoptic_blend.modeling.network.masks.centermask_point import ShapeTimesSaliency
from panoptic_blend.modeling.network.masks.condinst import ConditionalConvolutions
from panoptic_blend.modeling.network.masks.fcis import PositionSensitive
from panoptic_blend.modeling.network.masks.head import MaskHead
from panoptic_blend.modeling.network.masks.sag import COARSEST, FINEST, SpatialAttentionGuided
from panoptic_blend.modeling.network.masks.yolact import LinearCombination


@dataclass(frozen=True)
class MaskValues:
    """What the network offers to a mask head for one picture; see `MaskFeatures`."""

    bases: ir.Value | None
    towers: list[ir.Value]
    pyramid: list[ir.Value]


def draw_masks(op: OpBuilder, head: MaskHead, features: MaskValues, found: DetectedValues) -> ir.Value:
    """Mask logits [N, R, R] inside the boxes of detections.

    Raises:
        ConfigError: a mask head that no graph was written for.
    """
    if isinstance(head, Blender):
        return _blend(op, head, features, found)
    if isinstance(head, LinearCombination):
        return _combine(op, head, features, found)
    if isinstance(head, PositionSensitive):
        return _assemble(op, head, features, found)
    if isinstance(head, ShapeTimesSaliency):
        return _shape_times_saliency(op, head, features, found)
    if isinstance(head, ConditionalConvolutions):
        return _condition(op, head, features, found)
    if isinstance(head, SpatialAttentionGuided):
        return _guide(op, head, features, found)
    raise ConfigError(f"{type(head).__name__}: there is no graph for this mask head, so that it cannot be exported.")


def _blend(op: OpBuilder, head: Blender, features: MaskValues, found: DetectedValues) -> ir.Value:
    regions = crop(op, features.bases, found, head.resolution, head.pooling)
    flat = conv3x3_at(op, head.top_layer, features.towers, found)
    side = head.attention_size
    attention = op.Reshape(flat, [-1, head.num_maps, side, side])
    grown = grow(op, attention, head.resolution, head.interpolation)
    if head.num_maps == 1:
        return op.Squeeze(_logit_of_product(op, regions, grown), [1])
    # A softmax in parts: runtimes transpose maps to have the operator's axis last.
    shares = op.Exp(op.Sub(grown, op.ReduceMax(grown, [1])))
    mixed, whole = (op.ReduceSum(each, [1], keepdims=0) for each in (op.Mul(shares, regions), shares))
    return op.Div(mixed, whole)


def _combine(op: OpBuilder, head: LinearCombination, features: MaskValues, found: DetectedValues) -> ir.Value:
    prototypes = crop(op, op.Relu(features.bases), found, head.resolution, head.pooling)
    coefficients = op.Tanh(conv3x3_at(op, head.top_layer, features.towers, found))
    flat = op.Reshape(prototypes, [-1, head.num_maps, head.resolution**2])
    return op.Reshape(op.MatMul(op.Unsqueeze(coefficients, [1]), flat), [-1, head.resolution, head.resolution])


def _assemble(op: OpBuilder, head: PositionSensitive, features: MaskValues, found: DetectedValues) -> ir.Value:
    regions = crop(op, features.bases, found, head.resolution, head.pooling)
    part = (np.arange(head.resolution) * 2 + 1) * head.parts // (2 * head.resolution)
    own = (part[:, None] * head.parts + part)[None, None]  # [1, 1, R, R]
    index = op.Expand(constant(op, own), op.Concat(op.Shape(regions, start=0, end=1), [1, 1, 1], axis=0))
    return op.Squeeze(op.GatherElements(regions, index, axis=1), [1])


def _shape_times_saliency(
    op: OpBuilder, head: ShapeTimesSaliency, features: MaskValues, found: DetectedValues
) -> ir.Value:
    maps = op.Transpose(features.bases, perm=[1, 0, 2, 3])  # [K, 1, H / 4, W / 4]
    own = found.labels if head.num_maps > 1 else None
    saliency = crop(op, maps, found, head.resolution, head.pooling, own)
    flat = conv3x3_at(op, head.top_layer, features.towers, found)
    shape = grow(op, op.Reshape(flat, [-1, 1, head.shape_size, head.shape_size]), head.resolution, "bilinear")
    return op.Squeeze(_logit_of_product(op, shape, saliency), [1])


def _condition(op: OpBuilder, head: ConditionalConvolutions, features: MaskValues, found: DetectedValues) -> ir.Value:
    branch = crop(op, features.bases, found, head.resolution, head.pooling)
    x = op.Concat(_relative_coordinates(op, head, found), branch, axis=1)
    parameters = conv3x3_at(op, head.top_layer, features.towers, found)
    flat = op.Reshape(x, [-1, head.widths[0], head.resolution**2])
    used = 0
    for index, (inputs, outputs) in enumerate(itertools.pairwise(head.widths)):
        weight = op.Slice(parameters, [used], [used + inputs * outputs], [1])
        used += inputs * outputs
        bias = op.Slice(parameters, [used], [used + outputs], [1])
        used += outputs
        flat = flat if index == 0 else op.Relu(flat)
        flat = op.Add(op.MatMul(op.Reshape(weight, [-1, outputs, inputs]), flat), op.Unsqueeze(bias, [2]))
    return op.Reshape(flat, [-1, head.resolution, head.resolution])


def _relative_coordinates(op: OpBuilder, head: ConditionalConvolutions, found: DetectedValues) -> ir.Value:
    """[N, 2, R, R], see `ConditionalConvolutions.relative_coordinates`."""
    side = head.resolution
    start, stop = op.Split(op.Unsqueeze(found.boxes, [2]), num_outputs=2, axis=1, _outputs=2)  # [N, 2, 1]
    steps = constant(op, ((np.arange(side, dtype=np.float32) + 0.5) / side)[None, None])
    samples = op.Add(start, op.Mul(steps, op.Sub(stop, start)))
    strides = np.array(head.strides)
    places = op.Concat(op.Unsqueeze(found.column, [1]), op.Unsqueeze(found.row, [1]), axis=1)
    stride = op.Unsqueeze(op.Gather(constant(op, strides), found.level), [1])
    half = op.Unsqueeze(op.Gather(constant(op, strides // 2), found.level), [1])
    centres = op.Cast(op.Add(op.Mul(places, stride), half), to=ir.DataType.FLOAT)
    scale = op.Unsqueeze(op.Gather(constant(op, head.scales.cpu().numpy()), found.level), [1, 2])
    offsets = op.Div(op.Sub(op.Unsqueeze(centres, [2]), samples), scale)
    x, y = op.Split(offsets, num_outputs=2, axis=1, _outputs=2)  # [N, 1, R]
    square = [1, 1, side, side]
    return op.Concat(op.Expand(op.Unsqueeze(x, [2]), square), op.Expand(op.Unsqueeze(y, [3]), square), axis=1)


def _guide(op: OpBuilder, head: SpatialAttentionGuided, features: MaskValues, found: DetectedValues) -> ir.Value:
    x = _pool_by_size(op, head, features, found)
    for block in head.convs.children():
        x = op.Relu(convolve(op, next(block.children()), x))  # without norm
    pooled = op.Concat(op.ReduceMax(x, [1]), op.ReduceMean(x, [1]), axis=1)
    x = op.Mul(x, op.Sigmoid(convolve(op, head.attention.conv, pooled)))
    grown = op.ConvTranspose(x, *layer_weights(op, head.upsample), strides=[2, 2], kernel_shape=[2, 2])
    logits = convolve(op, head.predictor, op.Relu(grown))  # [N, T, R, R]
    index = op.Expand(op.Unsqueeze(found.labels, [1, 2, 3]), [1, 1, head.resolution, head.resolution])
    return op.Squeeze(op.GatherElements(logits, index, axis=1), [1])


def _pool_by_size(op: OpBuilder, head: SpatialAttentionGuided, features: MaskValues, found: DetectedValues) -> ir.Value:
    """Every box pooled from every level, of which the one that suits its size is taken."""
    size = op.Shape(features.pyramid[0], start=2, end=4)
    cells = op.Cast(op.ReduceProd(size, keepdims=0), to=ir.DataType.FLOAT)
    area = op.Mul(cells, float(4**FINEST))
    start, stop = op.Split(found.boxes, num_outputs=2, axis=1, _outputs=2)
    sides = op.Max(op.Sub(stop, start), 1e-3)
    share = op.Div(area, op.ReduceProd(sides, [1], keepdims=0))
    logarithm = op.Div(op.Log(share), float(np.log(2)))
    level = op.Clip(op.Ceil(op.Sub(float(COARSEST), logarithm)), float(FINEST), float(COARSEST))
    side = head.resolution // 2
    image = op.Mul(found.labels, 0)
    pooled = None
    for number, feature in enumerate(features.pyramid[: COARSEST - FINEST + 1], start=FINEST):
        sampled = op.RoiAlign(
            feature,
            found.boxes,
            image,
            output_height=side,
            output_width=side,
            sampling_ratio=2,
            spatial_scale=1 / 2**number,
            coordinate_transformation_mode="half_pixel",
        )
        own = op.Unsqueeze(op.Equal(level, float(number)), [1, 2, 3])
        pooled = sampled if pooled is None else op.Where(own, sampled, pooled)
    assert pooled is not None
    return pooled


def _logit_of_product(op: OpBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """`logit_of_product`: log(exp(p) + exp(q)) is the larger plus softplus(-difference)."""

    def logaddexp(p: ir.Value, q: ir.Value) -> ir.Value:
        return op.Add(op.Max(p, q), op.Softplus(op.Neg(op.Abs(op.Sub(p, q)))))

    a, b = op.Neg(a), op.Neg(b)
    return op.Neg(logaddexp(logaddexp(a, b), op.Add(a, b)))
