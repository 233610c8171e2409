"""The blender: an instance's mask is an attention-weighted mix of the bases (BlendMask, sec. 3.2)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.modeling.bases import BASES_STRIDE
from panoptic_blend.modeling.fcos.locations import Sites, conv3x3_at
from panoptic_blend.modeling.masks.crop import crop_regions

Interpolation = Literal["bilinear", "nearest"]


def blend(regions: Tensor, attention: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    """Mix cropped bases into one mask per instance (BlendMask, eqs. 2-4).

    Args:
        regions: [N, K, R, R] bases cropped to each box.
        attention: [N, K, M, M] unnormalised weights from the top layer, M <= R.
        interpolation: how M x M grows to R x R.

    Returns:
        [N, R, R] mask logits.
    """
    weights = F.interpolate(attention, regions.shape[-2:], mode=interpolation).softmax(dim=1)
    return (weights * regions).sum(dim=1)


class Blender(nn.Module):
    """Top layer and blender: boxes and bases in, mask logits out.

    Args:
        channels: width of the regression tower the attention is read from.
        num_bases: K.
        resolution: R.
        attention_size: M.
        interpolation: how attention grows from M x M to R x R.
        pooling: how bases are sampled inside a box.
    """

    def __init__(
        self,
        channels: int,
        num_bases: int = 4,
        resolution: int = 56,
        attention_size: int = 14,
        interpolation: Interpolation = "bilinear",
        pooling: Interpolation = "bilinear",
    ):
        super().__init__()
        self.num_bases = num_bases
        self.resolution = resolution
        self.attention_size = attention_size
        self.interpolation = interpolation
        self.pooling = pooling
        self.top_layer = nn.Conv2d(channels, num_bases * attention_size**2, 3, padding=1)
        nn.init.normal_(self.top_layer.weight, std=0.01)
        nn.init.zeros_(self.top_layer.bias)  # type: ignore[arg-type]

    def attention(self, towers: list[Tensor], sites: Sites) -> Tensor:
        """[N, K, M, M] unnormalised attention, computed at the sites only."""
        flat = conv3x3_at(self.top_layer, towers, sites)
        return flat.view(-1, self.num_bases, self.attention_size, self.attention_size)

    def forward(
        self, bases: Tensor, towers: list[Tensor], boxes: list[Tensor], sites: Sites, box_of_site: Tensor | None = None
    ) -> Tensor:
        """Mask logits of N sites.

        Args:
            bases: [B, K, H / 4, W / 4].
            towers: regression tower per level, [B, C, H_l, W_l].
            boxes: per image [N_i, 4] XYXY input pixels.
            sites: N cells of the pyramid.
            box_of_site: [N] index into the concatenated boxes (training: many sites share a box); by default site
                n has box n.

        Returns:
            [N, R, R].
        """
        regions = crop_regions(bases, boxes, BASES_STRIDE, self.resolution, self.pooling)
        if box_of_site is not None:
            regions = regions[box_of_site]
        return blend(regions, self.attention(towers, sites).to(regions.dtype), self.interpolation)
