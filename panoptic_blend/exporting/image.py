"""First part of the graph: a picture of any size becomes the network's input, as `InputRule` and `resizing` make it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnxscript import OpBuilder, ir

from panoptic_blend.config import PredictionSettings
from panoptic_blend.modeling.input_rule import SIZE_DIVISOR, InputRule


@dataclass(frozen=True)
class Sizes:
    """Sizes that later parts need, each int64 [2]: height, width.

    Attributes:
        output: of the picture and of the id map.
        image: of the picture as the network sees it, without padding.
    """

    output: ir.Value
    image: ir.Value


def resize_picture(op: OpBuilder, picture: ir.Value, settings: PredictionSettings) -> tuple[ir.Value, Sizes]:
    """uint8 [H, W, 3] RGB -> uint8 [1, 3, h, w], as `resizing.resize_image`.

    The two differ by one level in two bytes of a thousand.
    """
    size = op.Shape(picture, start=0, end=2)
    seen = _output_size(op, size, settings)
    pixels = op.Unsqueeze(op.Transpose(picture, perm=[2, 0, 1]), [0])
    resized = op.Resize(
        pixels, None, None, op.Concat([1, 3], seen, axis=0), mode="linear", antialias=1, exclude_outside=1
    )
    return resized, Sizes(size, seen)


def normalise(op: OpBuilder, pixels: ir.Value, seen: ir.Value, rule: InputRule) -> ir.Value:
    """uint8 RGB [1, 3, h, w] -> float [1, 3, H', W'], zero-padded bottom and right: see `InputRule`.

    Args:
        seen: int64 [2], h and w.
    """
    values = op.Cast(pixels, to=ir.DataType.FLOAT)
    if rule.flip_channels:
        values = op.Gather(values, [2, 1, 0], axis=1)
    mean, std = (constant(op, buffer.cpu().numpy()[None]) for buffer in (rule.pixel_mean, rule.pixel_std))
    missing = op.Mod(op.Neg(seen), [SIZE_DIVISOR])
    return op.Pad(op.Div(op.Sub(values, mean), std), op.Concat([0, 0, 0, 0, 0, 0], missing, axis=0))


def _output_size(op: OpBuilder, size: ir.Value, settings: PredictionSettings) -> ir.Value:
    """`resizing.output_size`, in double precision as there."""
    exact = op.Cast(size, to=ir.DataType.DOUBLE)
    scale = op.Min(
        op.Div(constant(op, np.float64(settings.shortest_edge)), op.ReduceMin(exact, keepdims=0)),
        op.Div(constant(op, np.float64(settings.longest_edge)), op.ReduceMax(exact, keepdims=0)),
    )
    rounded = op.Floor(op.Add(op.Mul(exact, scale), constant(op, np.float64(0.5))))
    return op.Max(op.Cast(rounded, to=ir.DataType.INT64), [1])


def channels_of(value: ir.Value) -> int:
    """C of [1, C, h, w]."""
    assert value.shape is not None
    channels = value.shape[1]
    assert isinstance(channels, int)
    return channels


def constant(op: OpBuilder, value: np.ndarray | np.generic) -> ir.Value:
    """A tensor that is part of the graph."""
    graph = op.builder.root.graph
    return op.builder.initializer(
        ir.tensor(np.asarray(value), name=f"constant_{len(graph.initializers)}"), qualify=False
    )
