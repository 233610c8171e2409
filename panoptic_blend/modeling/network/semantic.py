"""The stuff branch of Panoptic FPN."""

from __future__ import annotations

from torch import Tensor, nn

from panoptic_blend.modeling.network.layers import conv_norm_relu

STRIDE = 4


class SemanticTrunk(nn.Module):
    """P2..P5 -> one stride-4 map (Panoptic Feature Pyramid Networks, fig. 3).

    A level at stride s takes log2(s / 4) rounds of convolution and x2 upsampling; the results are summed.
    """

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.scale_heads = nn.ModuleList()
        for level in range(2, 6):
            stages: list[nn.Module] = []
            for index in range(max(level - 2, 1)):
                stages.append(conv_norm_relu(in_channels if index == 0 else channels, channels, "group"))
                if level > 2:
                    stages.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.scale_heads.append(nn.Sequential(*stages))

    def forward(self, pyramid: dict[int, Tensor]) -> Tensor:
        """Level -> [B, in_channels, H_l, W_l] becomes [B, channels, H / 4, W / 4]."""
        merged = self.scale_heads[0](pyramid[2])
        for level, head in enumerate(self.scale_heads[1:], start=3):
            merged = head(pyramid[level]).add_(merged)
        return merged
