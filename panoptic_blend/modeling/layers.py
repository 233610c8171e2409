"""The one convolution block every branch is built from."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

Norm = Literal["batch", "group", "none"]


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with the field's 32 groups, or fewer where 32 does not divide the width."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """The normalisation a setting names."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return group_norm(channels) if norm == "group" else nn.Identity()


def conv_norm_relu(in_channels: int, out_channels: int, norm: Norm, kernel_size: int = 3) -> nn.Sequential:
    """Convolution, normalisation, ReLU at unchanged size; He-initialised."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=norm == "none")
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, norm_layer(norm, out_channels), nn.ReLU(inplace=True))
