"""BlendMask for panoptic segmentation, whole: images in, losses or panoptic predictions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.categories import IGNORE, Categories
from panoptic_blend.config import ModelConfig
from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.build import build_backbone, build_bottom_module, build_mask_head
from panoptic_blend.modeling.criterion.assignment import assign, centerness
from panoptic_blend.modeling.criterion.losses import box_loss, centerness_loss, classification_loss, mean_over_processes
from panoptic_blend.modeling.network.bases import AuxiliarySemanticHead, auxiliary_targets
from panoptic_blend.modeling.network.fcos_head import FCOSHead
from panoptic_blend.modeling.network.fpn import FPN
from panoptic_blend.modeling.network.locations import Locations, Sites, locate
from panoptic_blend.modeling.network.masks.crop import crop_mask_targets, mask_loss
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest
from panoptic_blend.modeling.network.network import Network, NetworkOutput
from panoptic_blend.modeling.network.semantic import SemanticTrunk, semantic_labels, semantic_loss
from panoptic_blend.modeling.postprocess.decoding import Detections, decode
from panoptic_blend.modeling.postprocess.merge import merge
from panoptic_blend.structures import IdMap, Instances, PanopticPrediction, Segment, Targets

SIZE_DIVISOR = 32
"""Batches are padded to a multiple of the coarsest backbone stride."""


class PanopticBlend(nn.Module):
    """The model: a network (tensor -> raw tensors), then plain functions on its output.

    Args:
        network: backbone, pyramid and branches.
        mask_head: turns features and boxes into masks.
        categories: of the data set it predicts.
        config: what it was built from, kept so that a checkpoint describes itself.
        assign: (locations, boxes) -> matches and distances.
        decode: (head output, locations, image index) -> detections.
        merge: (instances, semantic map, categories) -> id map and segments.
        classification_loss: (logits, labels, positives) -> focal loss.
        loss_weights: factor of each loss that is not 1, by name.
        pixel_mean: per channel, 0..255, in the backbone's channel order.
        pixel_std: per channel.
        flip_channels: the backbone expects BGR.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        network: Network,
        mask_head: MaskHead,
        categories: Categories,
        config: ModelConfig,
        assign: Callable[[Locations, Tensor], tuple[Tensor, Tensor]],
        decode: Callable[..., Detections],
        merge: Callable[[Instances, Tensor, Categories], tuple[IdMap, list[Segment]]],
        classification_loss: Callable[[Tensor, Tensor, Tensor], Tensor],
        loss_weights: dict[str, float],
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        flip_channels: bool,
    ):
        super().__init__()
        self.network = network
        self.mask_head = mask_head
        self.categories = categories
        self.config = config
        self.assign = assign
        self.decode = decode
        self.merge = merge
        self.classification_loss = classification_loss
        self.loss_weights = loss_weights
        self.flip_channels = flip_channels
        self.strides = [2**level for level in network.fpn.levels if level >= 3]
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)

    def preprocess(self, images: Sequence[Tensor]) -> Tensor:
        """RGB images [3, H_i, W_i], uint8 or float in 0..255 -> one normalised batch, zero-padded bottom and right."""
        device = self.pixel_mean.device
        height, width = (
            -(-max(image.shape[axis] for image in images) // SIZE_DIVISOR) * SIZE_DIVISOR for axis in (1, 2)
        )
        batch = torch.zeros((len(images), 3, height, width), device=device)
        for padded, image in zip(batch, images, strict=True):
            pixels = image.to(device, non_blocking=True).float()
            pixels = pixels.flip(0) if self.flip_channels else pixels
            padded[:, : image.shape[1], : image.shape[2]] = (pixels - self.pixel_mean) / self.pixel_std
        return batch

    def forward(self, images: Sequence[Tensor], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Training losses of a batch.

        Args:
            images: RGB [3, H_i, W_i], uint8 or float in 0..255.
            targets: one per image, of its size.

        Returns:
            Weighted scalars `loss_fcos_cls loss_fcos_loc loss_fcos_ctr loss_mask`, with the branches switched on
            `loss_sem_seg` and `loss_basis_sem`; their sum is what is minimised.
        """
        batch = self.preprocess(images)
        targets = [target.to(batch.device) for target in targets]
        output = self.network(batch)
        losses = self._instance_losses(output, targets)
        if output.semantic is not None:
            semantic = _pad_stack([target.semantic for target in targets], batch.shape[-2:], IGNORE)
            losses["loss_sem_seg"] = semantic_loss(output.semantic, semantic)
        if output.auxiliary is not None:
            painted = [auxiliary_targets(target.masks, target.labels) for target in targets]
            auxiliary = _pad_stack(painted, output.auxiliary.shape[-2:], 0)
            losses["loss_basis_sem"] = F.cross_entropy(output.auxiliary.float(), auxiliary)
        return {name: loss * self.loss_weights.get(name, 1.0) for name, loss in losses.items()}

    def _instance_losses(self, output: NetworkOutput, targets: Sequence[Targets]) -> dict[str, Tensor]:
        locations = locate(output.detector.towers, self.strides)
        matches = [self.assign(locations, target.boxes) for target in targets]
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
        mask_logits = self.mask_head(_mask_features(output), request)
        mask_targets = torch.cat([crop_mask_targets(t.masks, t.boxes, self.mask_head.resolution) for t in targets])
        return {
            "loss_fcos_cls": self.classification_loss(
                _flatten_levels(output.detector.class_logits).flatten(0, 1), labels.flatten(), positives
            ),
            "loss_fcos_loc": box_loss(
                _flatten_levels(output.detector.distances)[image, cell], distance_targets, weight, normalizer
            ),
            "loss_fcos_ctr": centerness_loss(
                _flatten_levels(output.detector.centerness)[image, cell, 0], weight, positives
            ),
            "loss_mask": mask_loss(mask_logits, mask_targets[box], weight, normalizer),
        }

    @torch.no_grad()
    def predict(
        self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[PanopticPrediction]:
        """Panoptic predictions of a batch, whatever mode the model is in.

        Args:
            images: RGB [3, H_i, W_i], uint8 or float in 0..255.
            sizes: output (height, width) per image; by default its own.
        """
        was_training = self.training
        self.eval()
        try:
            output = self.network(self.preprocess(images))
            locations = locate(output.detector.towers, self.strides)
            image_sizes = [(image.shape[1], image.shape[2]) for image in images]
            return [
                self._predict_one(output, locations, index, image_size, size)
                for index, (image_size, size) in enumerate(zip(image_sizes, sizes or image_sizes, strict=True))
            ]
        finally:
            self.train(was_training)

    def _predict_one(
        self,
        output: NetworkOutput,
        locations: Locations,
        index: int,
        image_size: tuple[int, int],
        size: tuple[int, int],
    ) -> PanopticPrediction:
        height, width = size
        detections = self.decode(output.detector, locations, index)
        request = MaskRequest(detections.sites, detections.boxes, detections.sites.image, detections.labels)
        logits = self.mask_head(_mask_features(output), request)
        instances = _resize_instances(detections, logits.float().sigmoid(), image_size, (height, width))
        if output.semantic is None:
            semantic = torch.zeros((height, width), dtype=torch.uint8)
        else:
            semantic = semantic_labels(output.semantic[index], image_size, (height, width)).cpu()
        id_map, segments = self.merge(instances, semantic, self.categories)
        return PanopticPrediction(id_map, segments, instances, semantic.numpy())


def _mask_features(output: NetworkOutput) -> MaskFeatures:
    return MaskFeatures(output.bases, output.detector.towers, output.pyramid)


def _resize_instances(
    detections: Detections, patches: Tensor, image_size: tuple[int, int], size: tuple[int, int]
) -> Instances:
    """Detections of the network's input as instances of an output of `size`; boxes left without area are dropped."""
    boxes, keep = resize_boxes(detections.boxes, image_size, size)
    return Instances(boxes[keep], detections.scores[keep], detections.labels[keep], patches[keep], size)


def resize_boxes(boxes: Tensor, image_size: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes [N, 4] of an image in the pixels of an output of `size`, cut to it, and [N] which of them have an area."""
    scale = (size[1] / image_size[1], size[0] / image_size[0])
    boxes = boxes * boxes.new_tensor(scale * 2)
    boxes = torch.stack([boxes[:, 0::2].clamp(0, size[1]), boxes[:, 1::2].clamp(0, size[0])], dim=-1).flatten(1)
    return boxes, (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _flatten_levels(levels: list[Tensor]) -> Tensor:
    """Levels [B, C, H_l, W_l] -> [B, L, C] in the order of `Locations`."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1).float()


def _pad_stack(maps: Sequence[Tensor], size: Sequence[int], value: int) -> Tensor:
    """Maps [H_i, W_i] -> [B, *size], padded bottom and right."""
    return torch.stack([F.pad(m, (0, size[1] - m.shape[1], 0, size[0] - m.shape[0]), value=value) for m in maps])


def build_model(config: ModelConfig, categories: Categories, pretrained: bool = True) -> PanopticBlend:
    """Build the model a configuration describes: the one place that reads it.

    Args:
        config: settings of every part.
        categories: things become the detector's classes, stuff the semantic branch's.
        pretrained: load the backbone weights the configuration names; off when a checkpoint follows.

    Raises:
        ConfigError: settings that contradict each other or the categories.
        CheckpointError: backbone weights that cannot be read or do not fit.
    """
    if not categories.things:
        raise ConfigError("The data set has no thing categories; a detector needs at least one ('isthing': 1).")
    fpn, fcos, bases, semantic = config.fpn, config.fcos, config.bases, config.semantic
    backbone = build_backbone(config, pretrained)
    mask_head = build_mask_head(config, len(categories.things))
    bottom_module = build_bottom_module(config, backbone.channels, mask_head.num_maps)

    trunk, stuff_predictor = None, None
    shared = bases.kind == "shared"
    if semantic.enabled:
        trunk = SemanticTrunk(fpn.channels, semantic.channels)
        trunk_channels = semantic.channels + (mask_head.num_maps if shared else 0)
        stuff_predictor = nn.Conv2d(trunk_channels, 1 + len(categories.stuff), 1)
        nn.init.kaiming_normal_(stuff_predictor.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(stuff_predictor.bias)  # type: ignore[arg-type]
    auxiliary = None
    if bases.auxiliary_loss_weight > 0:
        auxiliary = AuxiliarySemanticHead(fpn.channels, bases.channels, len(categories.things), bases.norm)

    network = Network(
        backbone,
        FPN(backbone.channels, fpn.channels, fpn.finest_level, fpn.coarsest_level),
        FCOSHead(
            fpn.channels,
            len(categories.things),
            fpn.coarsest_level - 2,
            fcos.num_convs,
            fcos.num_shared_convs,
            fcos.norm,
            fcos.level_scales,
        ),
        bottom_module,
        trunk,
        stuff_predictor,
        bases_read_backbone=bases.kind == "deeplab",
        bases_reach_stuff=shared,
        auxiliary=auxiliary,
    )
    return PanopticBlend(
        network,
        mask_head,
        categories,
        config,
        assign=partial(assign, sizes_of_interest=fcos.sizes_of_interest, center_radius=fcos.center_radius),
        decode=partial(
            decode,
            score_threshold=fcos.score_threshold,
            threshold_with_centerness=fcos.threshold_with_centerness,
            pre_nms_top_k=fcos.pre_nms_top_k,
            nms_iou=fcos.nms_iou,
            max_detections=fcos.max_detections,
        ),
        merge=partial(
            merge,
            min_score=config.merge.min_score,
            max_overlap=config.merge.max_overlap,
            min_stuff_area=config.merge.min_stuff_area,
        ),
        classification_loss=partial(classification_loss, alpha=fcos.focal_alpha, gamma=fcos.focal_gamma),
        loss_weights={
            "loss_mask": config.masks.loss_weight,
            "loss_sem_seg": semantic.loss_weight,
            "loss_basis_sem": bases.auxiliary_loss_weight,
        },
        pixel_mean=config.input.pixel_mean,
        pixel_std=config.input.pixel_std,
        flip_channels=config.input.channel_order == "BGR",
    )
