"""Modulated deformable convolution against its definition, one tap at a time."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from panoptic_blend.modeling.network.backbone import ModulatedDeformConv


def _bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    """[C, H, W] read between cells; cells outside are 0."""
    total = plane.new_zeros(len(plane))
    for row, column in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        if 0 <= row < plane.shape[1] and 0 <= column < plane.shape[2]:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[:, row, column]
    return total


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
def test_taps_move_by_offset_pairs_y_x_and_weigh_by_the_last_nine_channels(stride: int) -> None:
    torch.manual_seed(0)
    layer = ModulatedDeformConv(4, stride).double()
    layer.offset.weight.normal_(std=0.3)
    layer.offset.bias.normal_(std=0.5)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    predicted = layer.offset(x)  # 27 channels: (dy, dx) of each tap in turn, then nine modulations before the sigmoid
    output = layer(x)
    assert output.shape[2:] == predicted.shape[2:]
    for image, row, column in itertools.product(range(2), range(output.shape[2]), range(output.shape[3])):
        expected = torch.zeros(4, dtype=torch.float64)
        for tap, (ky, kx) in enumerate(itertools.product(range(3), range(3))):
            dy, dx = predicted[image, 2 * tap, row, column], predicted[image, 2 * tap + 1, row, column]
            modulation = predicted[image, 18 + tap, row, column].sigmoid()
            value = _bilinear(x[image], row * stride + ky - 1 + float(dy), column * stride + kx - 1 + float(dx))
            expected += layer.conv.weight[:, :, ky, kx] @ (modulation * value)
        torch.testing.assert_close(output[image, :, row, column], expected)
