"""EfficientNet-Lite0, a small backbone made for CPUs and 8-bit integers (Tan and Le, 2019; its Lite variant, 2020)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STEM = 32
_STAGES = (  # expansion, kernel, stride, blocks, channels
    (1, 3, 1, 1, 16),
    (6, 3, 2, 2, 24),
    (6, 5, 2, 2, 40),
    (6, 3, 2, 3, 80),
    (6, 5, 1, 3, 112),
    (6, 5, 2, 4, 192),
    (6, 3, 1, 1, 320),
)
_READ = (1, 2, 4, 6)
"""Stages that end at strides 4, 8, 16 and 32."""


class SamePadConv(nn.Conv2d):
    """A convolution that pads as TensorFlow does: with the odd pixel of an even padding at the end."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=False)
        before = (kernel_size - stride) // 2
        after = kernel_size - stride - before
        self.pad = (before, after) * 2 if before != after else ()
        self.padding = (0, 0) if self.pad else (before, before)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return super().forward(F.pad(x, self.pad) if self.pad else x)


class DepthwiseConv(SamePadConv):
    """A filter for each channel by itself.

    On CPUs its gradients take two to five times as long in bf16 as in fp32, so it trains in fp32.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int):
        super().__init__(channels, channels, kernel_size, stride, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        if not (torch.is_grad_enabled() and x.device.type == "cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class SeparableBlock(nn.Module):
    """The first block: a depthwise convolution, and a 1x1 that ends without activation."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int):
        super().__init__()
        self.conv_dw, self.bn1 = DepthwiseConv(in_channels, kernel_size, stride), _norm(in_channels)
        self.conv_pw, self.bn2 = nn.Conv2d(in_channels, channels, 1, bias=False), _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))


class InvertedResidual(nn.Module):
    """Widen, filter every channel by itself, narrow; added to its input where the shapes allow (MobileNetV2)."""

    def __init__(self, in_channels: int, channels: int, expansion: int, kernel_size: int, stride: int):
        super().__init__()
        wide = expansion * in_channels
        self.conv_pw, self.bn1 = nn.Conv2d(in_channels, wide, 1, bias=False), _norm(wide)
        self.conv_dw, self.bn2 = DepthwiseConv(wide, kernel_size, stride), _norm(wide)
        self.conv_pwl, self.bn3 = nn.Conv2d(wide, channels, 1, bias=False), _norm(channels)
        self.adds = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H / stride, W / stride]."""
        widened = F.relu6(self.bn1(self.conv_pw(x)))
        narrowed = self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(widened)))))
        return narrowed + x if self.adds else narrowed


class EfficientNetLite(nn.Module):
    """The pyramid of EfficientNet-Lite0 under timm's parameter names (`tf_efficientnet_lite0`), without its classifier.

    Args:
        in_channels: of images.

    Attributes:
        pixel_mean: per channel, RGB in 0..255: how its published weights were trained.
        pixel_std: likewise.
        channels: of C2..C5.
    """

    pixel_mean = (127.5, 127.5, 127.5)
    pixel_std = (127.5, 127.5, 127.5)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = SamePadConv(in_channels, _STEM, 3, stride=2), _norm(_STEM)
        widths = [_STEM, *(channels for *_, channels in _STAGES)]
        stages = []
        for (before, channels), (expansion, kernel, stride, count, _) in zip(pairwise(widths), _STAGES, strict=True):
            first: nn.Module = InvertedResidual(before, channels, expansion, kernel, stride)
            if expansion == 1:
                first = SeparableBlock(before, channels, kernel, stride)
            others = [InvertedResidual(channels, channels, expansion, kernel, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(first, *others))
        self.blocks = nn.Sequential(*stages)
        self.channels = [_STAGES[stage][-1] for stage in _READ]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, C, H, W], H and W multiples of 32 -> C2, C3, C4, C5 at strides 4, 8, 16, 32."""
        x = F.relu6(self.bn1(self.conv_stem(images)))
        features = []
        for stage, blocks in enumerate(self.blocks):
            x = blocks(x)
            if stage in _READ:
                features.append(x)
        return features
