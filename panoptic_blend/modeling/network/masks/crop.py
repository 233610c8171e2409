"""Cutting box-shaped regions out of maps."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
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


def crop_mask_targets(masks: Tensor, boxes: Tensor, resolution: int) -> Tensor:
    """Ground-truth masks inside their boxes, averaged over each cell and thresholded at one half.

    Only the pixels around each box become floats, never whole images.

    Args:
        masks: [N, H, W] bool.
        boxes: [N, 4] XYXY pixels.
        resolution: R.

    Returns:
        [N, R, R] float, 0 or 1.
    """
    targets = boxes.new_zeros((len(masks), resolution, resolution))
    for index, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        left, top = (box[:2].floor() - 1).clamp(min=0).long().tolist()
        right, bottom = (box[2:].ceil() + 2).long().tolist()
        window = mask[top:bottom, left:right][None, None].to(boxes.dtype)
        shifted = box - box.new_tensor([left, top, left, top])
        targets[index] = roi_align(window, [shifted[None]], resolution, sampling_ratio=0, aligned=True)[0, 0]
    return (targets >= 0.5).to(boxes.dtype)


def mask_loss(logits: Tensor, targets: Tensor, weight: Tensor, normalizer: Tensor) -> Tensor:
    """Binary cross-entropy averaged over R x R, weighted by centerness.

    Args:
        logits: [N, R, R], one per positive location.
        targets: [N, R, R].
        weight: [N] centerness targets.
        normalizer: scalar, sum of the weights.
    """
    losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(dim=(1, 2))
    return (losses * weight).sum() / normalizer
