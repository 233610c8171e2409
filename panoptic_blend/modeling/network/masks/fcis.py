"""Position-sensitive masks: where in its box a pixel lies decides which map is read (FCIS, Li et al., 2017, sec. 2)."""

from __future__ import annotations

from math import isqrt
from typing import Literal

import torch
from torch import Tensor

from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.network.bases import BASES_STRIDE
from panoptic_blend.modeling.network.masks.crop import crop_regions
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest


class PositionSensitive(MaskHead):
    """Each of k x k maps scores one part of an object; a box is assembled from its parts. Nothing is learned here.

    As in BlendMask's comparison (sec. 4.1) the maps do not depend on the category and hold the mask alone.

    Args:
        num_maps: k x k, 49 in the paper.
        resolution: R.
        pooling: how maps are sampled inside a box.

    Raises:
        ConfigError: the number of maps is not a square.
    """

    def __init__(self, num_maps: int = 49, resolution: int = 56, pooling: Literal["bilinear", "nearest"] = "bilinear"):
        super().__init__(num_maps, resolution)
        self.pooling = pooling
        self.parts = isqrt(num_maps)
        if self.parts**2 != num_maps:
            raise ConfigError(
                f"model.bases.num_bases is {num_maps}; model.masks.head 'fcis' lays its maps out in a square, for "
                f"instance {self.parts**2} or {(self.parts + 1) ** 2}."
            )

    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        """Mask logits [N, R, R] of the requested sites; they differ by box only."""
        assert features.bases is not None
        regions = crop_regions(
            features.bases, request.boxes, request.image, BASES_STRIDE, self.resolution, self.pooling
        )
        part = (torch.arange(self.resolution, device=regions.device) * 2 + 1) * self.parts // (2 * self.resolution)
        map_of_pixel = part[:, None] * self.parts + part  # [R, R]
        masks = regions.gather(1, map_of_pixel.expand(len(regions), 1, -1, -1))[:, 0]
        return request.per_site(masks)
