"""From the network's raw tensors and the truth to losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from panoptic_blend.categories import IGNORE
from panoptic_blend.modeling.criterion.assignment import Assigner, centerness
from panoptic_blend.modeling.criterion.losses import (
    box_loss,
    centerness_loss,
    classification_loss,
    mask_dice_loss,
    mask_loss,
    mean_over_processes,
)
from panoptic_blend.modeling.criterion.mask_targets import auxiliary_targets, crop_mask_targets
from panoptic_blend.modeling.criterion.semantic_loss import semantic_dice_loss, semantic_loss
from panoptic_blend.modeling.network import NetworkOutput
from panoptic_blend.modeling.network.locations import Sites, locate
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest
from panoptic_blend.modeling.network.semantic import STRIDE
from panoptic_blend.structures import Targets

SITES_AT_ONCE = 2048
"""Whose masks are computed together in training: those of some hundred instances."""


class Criterion:
    """Assignment and all losses. Whatever is called with the same arguments can take its place.

    Args:
        mask_head: turns features and boxes into masks; None without things.
        strides: of the detector's levels.
        assign: matches locations to true boxes.
        focal_alpha: weight of positives in the focal loss.
        focal_gamma: focusing of the focal loss.
        weights: factor of each loss that is not 1, by name; the two dice losses are left out where they have none.
    """

    def __init__(
        self,
        mask_head: MaskHead | None,
        strides: Sequence[int],
        assign: Assigner,
        focal_alpha: float,
        focal_gamma: float,
        weights: Mapping[str, float],
    ):
        self.mask_head = mask_head
        self.strides = list(strides)
        self.assign = assign
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma
        self.weights = dict(weights)

    def __call__(self, output: NetworkOutput, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Weighted losses of a batch.

        Args:
            output: of the network in training mode.
            targets: one per image, on the network's device.

        Returns:
            Scalars by name, of the branches the network has: `loss_fcos_cls loss_fcos_loc loss_fcos_ctr loss_mask
            loss_mask_dice`, `loss_sem_seg loss_sem_dice` and `loss_basis_sem`; their sum is what is minimised.
        """
        losses = {} if output.detector is None else self.instance_losses(output, targets)
        if output.semantic is not None:
            height, width = (STRIDE * side for side in output.semantic.shape[-2:])
            semantic = _pad_stack([target.semantic for target in targets], (height, width), IGNORE)
            losses["loss_sem_seg"] = semantic_loss(output.semantic, semantic)
            if self._wants("loss_sem_dice"):
                losses["loss_sem_dice"] = semantic_dice_loss(output.semantic, semantic)
        if output.auxiliary is not None:
            painted = [auxiliary_targets(target.instance_map, target.labels) for target in targets]
            auxiliary = _pad_stack(painted, output.auxiliary.shape[-2:], 0)
            losses["loss_basis_sem"] = F.cross_entropy(output.auxiliary.float(), auxiliary)
        return {name: loss * self.weights.get(name, 1.0) for name, loss in losses.items()}

    def instance_losses(self, output: NetworkOutput, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Losses of the detector and of the masks, not weighted."""
        assert output.detector is not None
        assert self.mask_head is not None
        locations = locate(output.detector.towers, self.strides)
        matches = [self.assign(output.detector, index, locations, target) for index, target in enumerate(targets)]
        matched = torch.stack([match for match, _ in matches])  # [B, L]
        image, cell = (matched >= 0).nonzero(as_tuple=True)
        first_box = matched.new_tensor([0, *(len(target.boxes) for target in targets)]).cumsum(0)
        box = matched[image, cell] + first_box[image]  # index into the batch's boxes
        all_labels = torch.cat([target.labels for target in targets])
        labels = torch.full_like(matched, -1)
        labels[image, cell] = all_labels[box]

        distance_targets = torch.stack([distances for _, distances in matches])[image, cell]
        weight = centerness(distance_targets)
        positives = mean_over_processes(weight.new_tensor(float(len(weight)))).clamp(min=1)
        normalizer = mean_over_processes(weight.sum()).clamp(min=1e-6)

        boxes_per_image = torch.tensor([len(target.boxes) for target in targets], device=matched.device)
        request = MaskRequest(
            Sites.at(locations, image, cell),
            torch.cat([target.boxes for target in targets]),
            torch.arange(len(targets), device=matched.device).repeat_interleave(boxes_per_image),
            all_labels,
            box,
        )
        logits, distances, centers = (
            _flatten_levels(levels)
            for levels in (output.detector.class_logits, output.detector.distances, output.detector.centerness)
        )
        return {
            "loss_fcos_cls": classification_loss(
                logits.flatten(0, 1), labels.flatten(), positives, self.focal_alpha, self.focal_gamma
            ),
            "loss_fcos_loc": box_loss(distances[image, cell], distance_targets, weight, normalizer),
            "loss_fcos_ctr": centerness_loss(centers[image, cell, 0], weight, positives),
            **self._mask_losses(
                MaskFeatures.of(output),
                request,
                crop_mask_targets(targets, self.mask_head.resolution),
                weight,
                normalizer,
            ),
        }

    def _wants(self, loss: str) -> bool:
        return self.weights.get(loss, 0.0) > 0

    def _mask_losses(
        self, features: MaskFeatures, request: MaskRequest, targets: Tensor, weight: Tensor, normalizer: Tensor
    ) -> dict[str, Tensor]:
        """Losses of a request's masks, given the true masks [G, R, R] of its boxes and the weights [N] of its sites.

        Very many sites are taken a part at a time, and what a part computes is not kept but computed again for the
        gradient: memory for masks of all sites would outgrow the network's.
        """

        head, box = self.mask_head, request.box_of_site
        assert head is not None
        assert box is not None
        kinds = {"loss_mask": mask_loss}
        if self._wants("loss_mask_dice"):
            kinds["loss_mask_dice"] = mask_dice_loss

        def losses_of(part: MaskRequest, box: Tensor, weight: Tensor) -> Tensor:
            logits = head(features, part)
            return torch.stack([loss(logits, targets[box], weight, normalizer) for loss in kinds.values()])

        parts = math.ceil(len(box) / SITES_AT_ONCE)
        if parts <= 1:
            losses = losses_of(request, box, weight)
        else:
            by_box = box.argsort(stable=True)  # so that hardly any box is needed in two parts
            each = [
                checkpoint(losses_of, request[index], box[index], weight[index], use_reentrant=False)
                for index in by_box.chunk(parts)
            ]
            losses = torch.stack(each).sum(dim=0)
        return dict(zip(kinds, losses, strict=True))


def _flatten_levels(levels: list[Tensor]) -> Tensor:
    """Levels [B, C, H_l, W_l] -> [B, L, C] in the order of `Locations`."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1).float()


def _pad_stack(maps: Sequence[Tensor], size: Sequence[int], value: int) -> Tensor:
    """Maps [H_i, W_i] -> [B, *size], padded bottom and right."""
    return torch.stack([F.pad(m, (0, size[1] - m.shape[1], 0, size[0] - m.shape[0]), value=value) for m in maps])
