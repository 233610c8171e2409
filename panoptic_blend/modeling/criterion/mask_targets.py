"""What the masks and the auxiliary branch should predict."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

AUXILIARY_STRIDE = 8


def auxiliary_targets(masks: Tensor, labels: Tensor) -> Tensor:
    """Thing classes painted in the instances' order and subsampled to stride 8.

    Args:
        masks: [N, H, W] bool, H and W multiples of 8.
        labels: [N] contiguous thing labels.

    Returns:
        [H / 8, W / 8] int64; 0 = background, label + 1 elsewhere.
    """
    coarse = masks[:, ::AUXILIARY_STRIDE, ::AUXILIARY_STRIDE]
    painted = torch.zeros(coarse.shape[1:], dtype=torch.int64, device=masks.device)
    for mask, label in zip(coarse, labels, strict=True):
        painted[mask] = label + 1
    return painted


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
