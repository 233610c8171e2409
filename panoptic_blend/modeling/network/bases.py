"""Bottom modules: draw the K bases that every instance's attention mixes (BlendMask, sec. 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from panoptic_blend.modeling.network.layers import Norm, conv_norm_relu, norm_layer

BASES_STRIDE = 4


class SharedBases(nn.Module):
    """A 1x1 convolution of the semantic branch's stride-4 map: one trunk for stuff and bases."""

    def __init__(self, trunk_channels: int, num_bases: int):
        super().__init__()
        self.predictor = nn.Conv2d(trunk_channels, num_bases, 1)

    def forward(self, features: list[Tensor], pyramid: dict[int, Tensor], trunk: Tensor | None) -> Tensor:
        """trunk [B, C, H / 4, W / 4] -> bases [B, K, H / 4, W / 4]."""
        assert trunk is not None, "shared bases need the semantic branch"
        return self.predictor(trunk)


class FPNBases(nn.Module):
    """P3, P4, P5 refined, summed at stride 8, convolved, upsampled once: the published bottom module."""

    def __init__(self, in_channels: int, channels: int, num_bases: int, num_convs: int, norm: Norm):
        super().__init__()
        self.refine = nn.ModuleList(conv_norm_relu(in_channels, channels, norm) for _ in range(3))
        self.tower = nn.Sequential(
            *(conv_norm_relu(channels, channels, norm) for _ in range(num_convs)),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            conv_norm_relu(channels, channels, norm),
            nn.Conv2d(channels, num_bases, 1),
        )

    def forward(self, features: list[Tensor], pyramid: dict[int, Tensor], trunk: Tensor | None) -> Tensor:
        """P3..P5 [B, C, H / 2^l, W / 2^l] -> bases [B, K, H / 4, W / 4]."""
        merged = self.refine[0](pyramid[3])
        for level, refine in enumerate(self.refine[1:], start=4):
            merged = _resize_like(refine(pyramid[level]), merged).add_(merged)
        return self.tower(merged)


class DeepLabBases(nn.Module):
    """DeepLabV3+ decoder on the backbone: pyramid-pooled C5 meets a finer level, ends at stride 4 (Chen et al., 2018).

    Args:
        backbone_channels: of C2..C5.
        detail: the finer level: 3 decodes at stride 8 and doubles the result, 2 decodes at stride 4.
        channels: width.
        num_bases: K.
        norm: normalisation of all of it; the pooled branch, with one value per channel, has batch norm or none.
    """

    def __init__(
        self, backbone_channels: Sequence[int], detail: Literal[2, 3], channels: int, num_bases: int, norm: Norm
    ):
        super().__init__()
        self.detail = detail
        self.context = _pyramid_pooling(backbone_channels[3], channels, norm)
        reduced = max(channels // 4, 1)
        self.reduce = conv_norm_relu(backbone_channels[detail - 2], reduced, norm, kernel_size=1)
        self.tower = nn.Sequential(
            conv_norm_relu(channels + reduced, channels, norm),
            conv_norm_relu(channels, channels, norm),
            nn.Upsample(scale_factor=2**detail / BASES_STRIDE, mode="bilinear", align_corners=False),
            nn.Conv2d(channels, num_bases, 1),
        )

    def forward(self, features: list[Tensor], pyramid: dict[int, Tensor], trunk: Tensor | None) -> Tensor:
        """C2..C5 -> bases [B, K, H / 4, W / 4]."""
        detail = self.reduce(features[self.detail - 2])
        return self.tower(torch.cat([_resize_like(self.context(features[3]), detail), detail], dim=1))


class _PooledBatchNorm(nn.BatchNorm2d):
    """Batch norm of one value per image: from a single image no statistics can be taken, so it uses the kept ones."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, 1, 1] -> [B, C, 1, 1]."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def _pyramid_pooling(in_channels: int, channels: int, norm: Norm) -> ASPP:
    """torchvision's ASPP with another norm, fit for batches of one."""
    context = ASPP(in_channels, [6, 12, 18], channels)
    *convolved, pooled = context.convs
    for branch in (*convolved, context.project):
        branch[1] = norm_layer(norm, channels)
    if norm == "batch":
        pooled[2] = _PooledBatchNorm(channels)
    else:
        pooled[1], pooled[2] = nn.Conv2d(in_channels, channels, 1), nn.Identity()
    return context


class AuxiliarySemanticHead(nn.Sequential):
    """Thing-class logits at stride 8 from P3: supervises the bases' input in training (BlendMask, sec. 4.1)."""

    def __init__(self, in_channels: int, channels: int, num_things: int, norm: Norm):
        super().__init__(
            conv_norm_relu(in_channels, channels, norm),
            conv_norm_relu(channels, channels, norm),
            nn.Conv2d(channels, 1 + num_things, 1),
        )


def _resize_like(source: Tensor, target: Tensor) -> Tensor:
    return F.interpolate(source, target.shape[-2:], mode="bilinear", align_corners=False)
