"""The blender: an instance's mask is an attention-weighted mix of the bases (BlendMask, sec. 3.2)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.modeling.network.bases import BASES_STRIDE
from panoptic_blend.modeling.network.locations import Sites, conv3x3_at
from panoptic_blend.modeling.network.masks.crop import crop_regions
from panoptic_blend.modeling.network.masks.head import (
    MaskFeatures,
    MaskHead,
    MaskRequest,
    logit_of_product,
    make_top_layer,
)

Interpolation = Literal["bilinear", "nearest"]


def blend(regions: Tensor, attention: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    """Mix cropped bases into one mask per instance (BlendMask, eqs. 2-4).

    A single basis has nothing to be mixed with; there the probability is sigmoid(basis) x sigmoid(attention), as in
    the paper's one-basis variant (sec. 4.1).

    Args:
        regions: [N, K, R, R] bases cropped to each box.
        attention: [N, K, M, M] unnormalised weights from the top layer, M <= R.
        interpolation: how M x M grows to R x R.

    Returns:
        [N, R, R] mask logits.
    """
    grown = F.interpolate(attention, regions.shape[-2:], mode=interpolation)
    if regions.shape[1] == 1:
        return logit_of_product(regions, grown)[:, 0]
    return (grown.softmax(dim=1) * regions).sum(dim=1)


class Blender(MaskHead):
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
        super().__init__(num_bases, resolution)
        self.attention_size = attention_size
        self.interpolation = interpolation
        self.pooling = pooling
        self.top_layer = make_top_layer(channels, num_bases * attention_size**2)

    def attention(self, towers: list[Tensor], sites: Sites) -> Tensor:
        """[N, K, M, M] unnormalised attention, computed at the sites only."""
        flat = conv3x3_at(self.top_layer, towers, sites)
        return flat.view(-1, self.num_maps, self.attention_size, self.attention_size)

    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        """Mask logits [N, R, R] of the requested sites."""
        assert features.bases is not None
        regions = crop_regions(
            features.bases, request.boxes, request.image, BASES_STRIDE, self.resolution, self.pooling
        )
        attention = self.attention(features.towers, request.sites).to(regions.dtype)
        return blend(request.per_site(regions), attention, self.interpolation)
