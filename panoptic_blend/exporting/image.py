"""Bytes of a picture become the network's input as `InputRule` makes it, and what parts of the graph share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnxscript import OpBuilder, ir

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
