"""The one convolution block every branch is built from."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

Norm = Literal["batch", "group", "none"]
_FEW = 4


class FrozenBatchNorm(FrozenBatchNorm2d):
    """Batch norm with fixed statistics, scale and shift: one fused operation where no gradient flows.

    Also the arithmetic of detectron2's, so that its predictions are met to the last bit.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        if x.requires_grad:  # the fused operation would keep x for gradients of the scale that nobody asks for
            return super().forward(x).to(x.dtype)  # of bf16 and its own fp32 it makes fp32, which would be kept
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class GroupNorm(nn.GroupNorm):
    """Also of groups with a single value, whose result is the shift; PyTorch's refuses them where it knows no better.

    A narrow map of one cell has such, as the coarsest level of a small picture.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        if x.requires_grad and x.device.type == "cpu" and x.dtype == torch.bfloat16 and self._is_narrow:
            # Channels last, PyTorch computes this gradient number by number, which takes 2 to 9 times as long.
            return self._norm(x.contiguous()).contiguous(memory_format=torch.channels_last)
        return self._norm(x)

    def _norm(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    @property
    def _is_narrow(self) -> bool:
        """Whether a group has so few channels that a conversion and back is faster."""
        return self.num_channels // self.num_groups < _FEW


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with the field's 32 groups, or fewer where 32 does not divide the width."""
    return GroupNorm(math.gcd(32, channels), channels)


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
