"""From raw head outputs to the scored boxes of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from panoptic_blend.modeling.network.fcos_head import HeadOutput
from panoptic_blend.modeling.network.locations import Locations, Sites


@dataclass
class Detections:
    """Boxes of one image, best score first.

    Attributes:
        boxes: [N, 4] XYXY pixels of the network's input, not clipped.
        scores: [N].
        labels: [N] contiguous thing labels.
        sites: where in the pyramid each was predicted.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    sites: Sites


def no_detections(device: torch.device) -> Detections:
    """What a model without a detector finds."""
    none = torch.zeros(0, dtype=torch.int64, device=device)
    return Detections(none.new_zeros((0, 4)).float(), none.float(), none, Sites(none, none, none, none))


def decode(
    output: HeadOutput,
    locations: Locations,
    image: int,
    score_threshold: float = 0.05,
    threshold_with_centerness: bool = True,
    pre_nms_top_k: int = 1000,
    nms_iou: float = 0.6,
    max_detections: int = 100,
) -> Detections:
    """Select one image's detections: threshold, best per level, per-class suppression, best overall.

    The score is sqrt(class probability x centerness) (FCOS, sec. 3.3 with the square root of its public code).

    Args:
        output: the head's output for the batch.
        locations: of its levels.
        image: index in the batch.
        score_threshold: on the class probability, times centerness if `threshold_with_centerness`.
        pre_nms_top_k: candidates kept per level.
        nms_iou: overlap above which the weaker box of a class goes.
        max_detections: kept at the end.
    """
    scores, labels, cells, distances = [], [], [], []
    first_cell = 0
    for logits, centerness, distance in zip(output.class_logits, output.centerness, output.distances, strict=True):
        promising = cells_above(logits[image], score_threshold)
        probability = _rows(logits[image])[promising].T.float().sigmoid()  # [T, promising cells]
        weighted = probability * _rows(centerness[image])[promising, 0].float().sigmoid()
        candidate = (weighted if threshold_with_centerness else probability) > score_threshold
        label, row = candidate.nonzero(as_tuple=True)
        score, cell = weighted[label, row], promising[row]
        if len(score) > pre_nms_top_k:
            score, best = score.topk(pre_nms_top_k)
            label, cell = label[best], cell[best]
        scores.append(score)
        labels.append(label)
        distances.append(_rows(distance[image])[cell].float())
        cells.append(cell + first_cell)
        first_cell += centerness[image].numel()

    score, label, cell = torch.cat(scores).sqrt(), torch.cat(labels), torch.cat(cells)
    left, top, right, bottom = (torch.cat(distances) * locations.strides[cell, None]).unbind(-1)
    x, y = locations.centers[cell].unbind(-1)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)
    keep = batched_nms(boxes, score, label, nms_iou)[:max_detections]
    cell = cell[keep]
    return Detections(boxes[keep], score[keep], label[keep], Sites.at(locations, torch.full_like(cell, image), cell))


def cells_above(logits: Tensor, threshold: float) -> Tensor:
    """Cells where some class may pass a threshold, found without a sigmoid for every class of every cell.

    Args:
        logits: [T, H, W].
        threshold: on the probability, 0 to 1; times a centerness it can only be harder to pass.

    Returns:
        [N] int64 flat indices, ascending; among them every cell with a class probability above the threshold.
    """
    return (_rows(logits).amax(dim=1).float() > least_logit(threshold)).nonzero().squeeze(1)


def least_logit(threshold: float) -> float:
    """Below the logit of a probability by more than rounding can bridge."""
    return torch.tensor(threshold, dtype=torch.float64).logit().item() - 1e-3


def _rows(level: Tensor) -> Tensor:
    """[C, H, W] -> [H W, C]: a view, when the network's tensors are channels last."""
    return level.permute(1, 2, 0).flatten(0, 1)
