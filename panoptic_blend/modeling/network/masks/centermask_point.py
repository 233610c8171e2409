"""CenterMask by points: coarse shapes tell instances apart, a saliency map is exact (Wang et al., 2020)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.modeling.network.bases import BASES_STRIDE
from panoptic_blend.modeling.network.locations import conv3x3_at
from panoptic_blend.modeling.network.masks.crop import crop_regions
from panoptic_blend.modeling.network.masks.head import (
    MaskFeatures,
    MaskHead,
    MaskRequest,
    logit_of_product,
    make_top_layer,
)


class ShapeTimesSaliency(MaskHead):
    """sigmoid(local shape) x sigmoid(global saliency) (CenterMask, sec. 3.2 to 3.4).

    Args:
        channels: width of the regression tower the shapes are read from.
        num_saliency_maps: 1 for every category together, or one a category.
        resolution: R.
        shape_size: side of the local shape, which is stretched to the box.
        pooling: how saliency is sampled inside a box.
    """

    def __init__(
        self,
        channels: int,
        num_saliency_maps: int = 1,
        resolution: int = 56,
        shape_size: int = 32,
        pooling: Literal["bilinear", "nearest"] = "bilinear",
    ):
        super().__init__(num_saliency_maps, resolution)
        self.shape_size = shape_size
        self.pooling = pooling
        self.top_layer = make_top_layer(channels, shape_size**2)

    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        """Mask logits [N, R, R] of the requested sites."""
        assert features.bases is not None
        maps = features.bases.flatten(0, 1)[:, None]  # [B K, 1, H / 4, W / 4], so that a box reads its one map
        map_of_box = request.image * self.num_maps + (request.labels if self.num_maps > 1 else 0)
        saliency = crop_regions(maps, request.boxes, map_of_box, BASES_STRIDE, self.resolution, self.pooling)[:, 0]
        flat = conv3x3_at(self.top_layer, features.towers, request.sites).to(saliency.dtype)
        shape = F.interpolate(
            flat.view(-1, 1, self.shape_size, self.shape_size), (self.resolution, self.resolution), mode="bilinear"
        )[:, 0]
        return logit_of_product(shape, request.per_site(saliency))
