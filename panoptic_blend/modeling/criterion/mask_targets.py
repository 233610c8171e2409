"""What the masks and the auxiliary branch should predict."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from panoptic_blend.structures import Targets

AUXILIARY_STRIDE = 8


def auxiliary_targets(instance_map: Tensor, labels: Tensor) -> Tensor:
    """Thing classes painted in the instances' order and subsampled to stride 8.

    Args:
        instance_map: [D, H, W] as in `Targets`.
        labels: [N] contiguous thing labels.

    Returns:
        [H / 8, W / 8] int64, rounded up; 0 = background, label + 1 elsewhere.
    """
    last_painted = instance_map[:, ::AUXILIARY_STRIDE, ::AUXILIARY_STRIDE].amax(dim=0).long()
    return torch.cat([labels.new_zeros(1), labels + 1])[last_painted]


def crop_mask_targets(targets: Sequence[Targets], resolution: int) -> Tensor:
    """Ground-truth masks inside their boxes, averaged over each cell and thresholded at one half.

    Masks are cut out of the instance map around each box and never drawn as whole images.

    Args:
        targets: of a batch, with N instances in all.
        resolution: R.

    Returns:
        [N, R, R] float, 0 or 1.
    """
    boxes = torch.cat([target.boxes for target in targets])
    starts = (boxes[:, :2].floor() - 1).clamp(min=0)
    stops = boxes[:, 2:].ceil() + 2
    windows = torch.cat([starts, stops], dim=1).long().tolist()  # for all boxes at once, since this waits for a GPU
    rois = torch.cat([boxes.new_zeros((len(boxes), 1)), boxes - starts.repeat(1, 2)], dim=1)
    instances = ((target.instance_map, n) for target in targets for n in range(len(target.boxes)))
    covered = boxes.new_zeros((len(boxes), resolution, resolution))
    for index, ((instance_map, n), (left, top, right, bottom)) in enumerate(zip(instances, windows, strict=True)):
        mask = (instance_map[:, top:bottom, left:right] == n + 1).any(dim=0)[None, None].to(boxes.dtype)
        covered[index] = roi_align(mask, rois[index : index + 1], resolution, sampling_ratio=0, aligned=True)[0, 0]
    return (covered >= 0.5).to(boxes.dtype)
