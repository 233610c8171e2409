"""Spatial-attention-guided masks: convolutions on features pooled from the box (CenterMask, Lee and Park, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from panoptic_blend.modeling.network.layers import conv_norm_relu
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest

FINEST, COARSEST = 3, 5


def adaptive_levels(boxes: Tensor, input_area: float) -> Tensor:
    """Which of P3..P5 each box is pooled from: the larger its share of the input, the coarser (eq. 1).

    Args:
        boxes: [N, 4] XYXY pixels.
        input_area: pixels of the network's input.

    Returns:
        [N] int64, 3 to 5.
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).unbind(-1)
    level = (COARSEST - torch.log2(input_area / (width * height))).ceil()
    return level.clamp(FINEST, COARSEST).long()


class SpatialAttention(nn.Module):
    """Weights every position by a 3x3 convolution of the channels' maximum and mean (eq. 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        pooled = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        return x * self.conv(pooled).sigmoid()


class SpatialAttentionGuided(MaskHead):
    """RoIAlign, convolutions, spatial attention, x2 upsampling, one mask a category.

    Args:
        in_channels: width of the pyramid.
        num_classes: thing categories.
        resolution: R; features are pooled at R / 2. 28 in the paper.
        channels: width of the convolutions.
        num_convs: how many come before the attention.
    """

    def __init__(
        self, in_channels: int, num_classes: int, resolution: int = 28, channels: int = 256, num_convs: int = 4
    ):
        super().__init__(0, resolution)
        widths = [in_channels] + [channels] * num_convs
        self.convs = nn.Sequential(*(conv_norm_relu(widths[i], widths[i + 1], "none") for i in range(num_convs)))
        self.attention = SpatialAttention()
        self.upsample = nn.ConvTranspose2d(widths[-1], channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, num_classes, 1)
        nn.init.kaiming_normal_(self.upsample.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.predictor.weight, std=0.001)
        for layer in (self.upsample, self.predictor):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def pool(self, pyramid: list[Tensor], boxes: Tensor, image: Tensor) -> Tensor:
        """Features [G, C, R / 2, R / 2] of boxes [G, 4] in images [G], each from the level that suits its size."""
        side = self.resolution // 2
        finest = pyramid[0]
        stride = 2**FINEST
        levels = adaptive_levels(boxes, float(finest.shape[2] * finest.shape[3] * stride**2))
        rois = torch.cat([image[:, None].float(), boxes.float()], dim=1)
        pooled = finest.new_zeros((len(boxes), finest.shape[1], side, side), dtype=torch.float32)
        for level, feature in enumerate(pyramid[: COARSEST - FINEST + 1], start=FINEST):
            chosen = (levels == level).nonzero().squeeze(1)
            sampled = roi_align(feature.float(), rois[chosen], side, 1 / 2**level, sampling_ratio=2, aligned=True)
            pooled = pooled.index_put((chosen,), sampled)
        return pooled

    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        """Mask logits [N, R, R] of the requested sites; they differ by box and category only."""
        x = self.attention(self.convs(self.pool(features.pyramid, request.boxes, request.image)))
        logits = self.predictor(self.upsample(x).relu())  # [G, T, R, R]
        own = request.labels[:, None, None, None].expand(-1, 1, self.resolution, self.resolution)
        return request.per_site(logits.gather(1, own)[:, 0])
