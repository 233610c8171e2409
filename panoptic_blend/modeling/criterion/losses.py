"""Losses of the detector and of the masks, normalised over all processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss


def mean_over_processes(value: Tensor) -> Tensor:
    """The average of a scalar over all training processes, so that each divides by the same normaliser."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    value = value.clone().float()
    dist.all_reduce(value)
    return value / dist.get_world_size()


def classification_loss(logits: Tensor, labels: Tensor, num_positives: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss (Lin et al., 2017) over all locations, divided by the number of positives.

    Args:
        logits: [L, T].
        labels: [L] int64; T or -1 are background.
        num_positives: scalar, >= 1.
    """
    targets = torch.zeros_like(logits)
    positive = (labels >= 0).nonzero().squeeze(1)
    targets[positive, labels[positive]] = 1
    return sigmoid_focal_loss(logits, targets, alpha, gamma, reduction="sum") / num_positives


def box_loss(predicted: Tensor, target: Tensor, weight: Tensor, normalizer: Tensor) -> Tensor:
    """1 - GIoU weighted by centerness (Rezatofighi et al., 2019).

    Distances are in strides, so areas can be tiny; the published implementation adds 1 to intersection and union.

    Args:
        predicted: [N, 4] left, top, right, bottom.
        target: [N, 4].
        weight: [N] centerness targets.
        normalizer: scalar, sum of the weights.
    """
    shared = torch.minimum(predicted, target)
    hull = torch.maximum(predicted, target)
    intersection = _area(shared)
    union = _area(predicted) + _area(target) - intersection
    enclosing = _area(hull)
    giou = (intersection + 1) / (union + 1) - (enclosing - union) / enclosing
    return ((1 - giou) * weight).sum() / normalizer


def _area(distances: Tensor) -> Tensor:
    left, top, right, bottom = distances.unbind(-1)
    return (left + right) * (top + bottom)


def centerness_loss(logits: Tensor, targets: Tensor, num_positives: Tensor) -> Tensor:
    """Binary cross-entropy at positives [N], divided by their number."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / num_positives


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


def mask_dice_loss(logits: Tensor, targets: Tensor, weight: Tensor, normalizer: Tensor) -> Tensor:
    """1 - dice of every mask, weighted by centerness (V-Net, Milletari et al., 2016, sec. 3).

    Args:
        logits: [N, R, R], one per positive location.
        targets: [N, R, R].
        weight: [N] centerness targets.
        normalizer: scalar, sum of the weights.
    """
    predicted = logits.float().sigmoid()
    common = (predicted * targets).sum(dim=(1, 2))
    both = predicted.square().sum(dim=(1, 2)) + targets.square().sum(dim=(1, 2))
    return ((1 - 2 * common / both.clamp(min=1e-6)) * weight).sum() / normalizer
