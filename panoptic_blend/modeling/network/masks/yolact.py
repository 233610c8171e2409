"""YOLACT's masks: a linear combination of prototypes, cut to the box (Bolya et al., 2019, sec. 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from panoptic_blend.modeling.network.bases import BASES_STRIDE
from panoptic_blend.modeling.network.locations import conv3x3_at
from panoptic_blend.modeling.network.masks.crop import crop_regions
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest, make_top_layer


class LinearCombination(MaskHead):
    """One coefficient (tanh) per prototype (ReLU) and instance; their scalar product is the mask (YOLACT, eq. 1).

    The paper adds the prototypes up over the whole image and cuts the sum to the box. Sampling inside a box is linear,
    so cutting first gives the same numbers for a fraction of the work.

    Args:
        channels: width of the regression tower the coefficients are read from.
        num_prototypes: K, 32 in the paper.
        resolution: R.
        pooling: how prototypes are sampled inside a box.
    """

    def __init__(
        self,
        channels: int,
        num_prototypes: int = 32,
        resolution: int = 56,
        pooling: Literal["bilinear", "nearest"] = "bilinear",
    ):
        super().__init__(num_prototypes, resolution)
        self.pooling = pooling
        self.top_layer = make_top_layer(channels, num_prototypes)

    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        """Mask logits [N, R, R] of the requested sites."""
        assert features.bases is not None
        prototypes = crop_regions(
            features.bases.relu(), request.boxes, request.image, BASES_STRIDE, self.resolution, self.pooling
        )
        coefficients = conv3x3_at(self.top_layer, features.towers, request.sites).tanh().to(prototypes.dtype)
        return torch.einsum("nk,nkyx->nyx", coefficients, request.per_site(prototypes))
