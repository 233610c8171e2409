"""Cutting box-shaped regions out of maps."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import roi_align


def crop_regions(
    maps: Tensor,
    boxes: Tensor,
    image: Tensor,
    stride: int,
    resolution: int,
    pooling: Literal["bilinear", "nearest"] = "bilinear",
) -> Tensor:
    """Sample every box on an R x R grid, one sample a cell (RoIAlign, aligned; BlendMask, eq. 1).

    In single precision whatever the maps have: half-precision coordinates would be pixels off.

    Args:
        maps: [B, K, H / stride, W / stride].
        boxes: [N, 4] XYXY input pixels; parts outside the map read as 0.
        image: [N] which of the B maps each box lies in.
        stride: of the maps.
        resolution: R.
        pooling: how a map is read between its cells.

    Returns:
        [N, K, R, R].
    """
    maps, boxes = maps.float(), boxes.float()
    if pooling == "nearest":
        return _crop_nearest(maps, boxes / stride, image, resolution)
    rois = torch.cat([image[:, None].float(), boxes], dim=1)
    return roi_align(maps, rois, resolution, spatial_scale=1 / stride, sampling_ratio=1, aligned=True)


def _crop_nearest(maps: Tensor, boxes: Tensor, image: Tensor, resolution: int) -> Tensor:
    """As `crop_regions`, boxes in cells of the maps."""
    height, width = maps.shape[-2:]
    steps = (torch.arange(resolution, device=boxes.device) + 0.5) / resolution
    x = (boxes[:, None, 0] + steps * (boxes[:, 2] - boxes[:, 0])[:, None]).floor().long()
    y = (boxes[:, None, 1] + steps * (boxes[:, 3] - boxes[:, 1])[:, None]).floor().long()
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    cells = y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]
    regions = maps.permute(0, 2, 3, 1)[image[:, None, None], cells[0], cells[1]]  # [N, R, R, K]
    return (regions * inside[..., None]).permute(0, 3, 1, 2)
