"""The model as its settings describe it: the one place that reads them."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from panoptic_blend.categories import Categories
from panoptic_blend.config import BackboneConfig, InputConfig, ModelConfig, PredictionSettings
from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.criterion import Criterion
from panoptic_blend.modeling.criterion.assignment import CenterSampling
from panoptic_blend.modeling.input_rule import InputRule
from panoptic_blend.modeling.network import Network
from panoptic_blend.modeling.network.backbone import ResNet, TimmBackbone
from panoptic_blend.modeling.network.bases import AuxiliarySemanticHead, DeepLabBases, FPNBases, SharedBases
from panoptic_blend.modeling.network.efficientnet_lite import EfficientNetLite
from panoptic_blend.modeling.network.fcos_head import FCOSHead
from panoptic_blend.modeling.network.fpn import FPN
from panoptic_blend.modeling.network.masks.blender import Blender
from panoptic_blend.modeling.network.masks.centermask_point import ShapeTimesSaliency
from panoptic_blend.modeling.network.masks.condinst import ConditionalConvolutions
from panoptic_blend.modeling.network.masks.fcis import PositionSensitive
from panoptic_blend.modeling.network.masks.head import MaskHead
from panoptic_blend.modeling.network.masks.sag import SpatialAttentionGuided
from panoptic_blend.modeling.network.masks.yolact import LinearCombination
from panoptic_blend.modeling.network.semantic import SemanticTrunk
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.modeling.postprocess import PostProcessor

PerChannel = tuple[float, ...]
Backbone = ResNet | EfficientNetLite | TimmBackbone


def build_model(config: ModelConfig, categories: Categories) -> PanopticBlend:
    """Build the model a configuration describes, with random weights: `checkpoints` loads trained ones.

    Args:
        config: settings of every part.
        categories: things become the detector's classes, stuff the semantic branch's. Without things there is no
            detector, and nothing of what serves it alone.

    Raises:
        ConfigError: settings that contradict each other or the categories.
    """
    if not categories.things and not config.semantic.enabled:
        raise ConfigError(
            "The data set has no thing categories ('isthing': 1) and model.semantic.enabled is false: nothing is left "
            "to predict. Enable the semantic branch, or name things."
        )
    backbone = build_backbone(config.backbone, config.input.channels)
    mean, std = pixel_statistics(config.input, backbone)
    config = replace(config, input=replace(config.input, pixel_mean=mean, pixel_std=std))
    mask_head = build_mask_head(config, len(categories.things)) if categories.things else None
    network = build_network(config, categories, backbone, mask_head.num_maps if mask_head is not None else 0)
    strides = [2**level for level in network.fpn.levels if level >= 3]
    return PanopticBlend(
        InputRule(mean, std, config.input.channel_order == "BGR"),
        network,
        mask_head,
        build_criterion(config, mask_head, strides),
        PostProcessor(mask_head, strides, categories, PredictionSettings.of(config)),
        config,
    )


def pixel_statistics(config: InputConfig, backbone: Backbone) -> tuple[PerChannel, PerChannel]:
    """Mean and standard deviation as set, in `channel_order`; where they are not, those the backbone comes with.

    These are of RGB; other bands get their average, as they get the average of its filters.
    """

    def of_bands(values: PerChannel) -> PerChannel:
        colors = values[::-1] if config.channel_order == "BGR" else values
        average = sum(values) / len(values)
        return tuple(colors[band] if band < 3 <= config.channels else average for band in range(config.channels))

    return config.pixel_mean or of_bands(backbone.pixel_mean), config.pixel_std or of_bands(backbone.pixel_std)


def build_network(config: ModelConfig, categories: Categories, backbone: Backbone, num_maps: int) -> Network:
    """Backbone, pyramid and branches; the bases are as many as the mask head reads."""
    fpn, bases, semantic = config.fpn, config.bases, config.semantic
    bottom_module = build_bottom_module(config, backbone.channels, num_maps)
    shared = bases.kind == "shared"
    trunk, stuff_predictor = None, None
    if semantic.enabled:
        trunk = SemanticTrunk(fpn.channels, semantic.channels)
        trunk_channels = semantic.channels + (num_maps if shared else 0)
        stuff_predictor = nn.Conv2d(trunk_channels, 1 + len(categories.stuff), 1)
        nn.init.kaiming_normal_(stuff_predictor.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(stuff_predictor.bias)  # type: ignore[arg-type]
    auxiliary = None
    if categories.things and bases.auxiliary_loss_weight > 0:
        auxiliary = AuxiliarySemanticHead(fpn.channels, bases.channels, len(categories.things), bases.norm)
    return Network(
        backbone,
        # The detector alone reads P6 and P7.
        FPN(backbone.channels, fpn.channels, fpn.finest_level, fpn.coarsest_level if categories.things else 5),
        build_head(config, len(categories.things)) if categories.things else None,
        bottom_module,
        trunk,
        stuff_predictor,
        bases_read_backbone=isinstance(bottom_module, DeepLabBases),
        bases_reach_stuff=shared,
        auxiliary=auxiliary,
    )


def build_head(config: ModelConfig, num_things: int) -> FCOSHead:
    """The detector for `num_things` categories."""
    fcos, levels = config.fcos, config.fpn.coarsest_level - 2
    return FCOSHead(
        config.fpn.channels,
        num_things,
        levels,
        fcos.num_convs,
        fcos.num_shared_convs,
        fcos.norm,
        fcos.level_scales,
    )


def build_criterion(config: ModelConfig, mask_head: MaskHead | None, strides: list[int]) -> Criterion:
    """Assignment and losses."""
    fcos = config.fcos
    return Criterion(
        mask_head,
        strides,
        CenterSampling(fcos.sizes_of_interest, fcos.center_radius),
        fcos.focal_alpha,
        fcos.focal_gamma,
        {
            "loss_mask": config.masks.loss_weight,
            "loss_mask_dice": config.masks.dice_weight,
            "loss_sem_seg": config.semantic.loss_weight,
            "loss_sem_dice": config.semantic.dice_weight,
            "loss_basis_sem": config.bases.auxiliary_loss_weight,
        },
    )


def build_backbone(backbone: BackboneConfig, channels: int = 3) -> Backbone:
    """The backbone, with random weights, for images of so many channels."""
    if backbone.name.startswith("timm:"):
        return TimmBackbone(backbone.name.removeprefix("timm:"), channels)
    if backbone.name == "efficientnet_lite0":
        return EfficientNetLite(channels)
    return ResNet(
        backbone.name,
        backbone.norm,
        backbone.frozen_stages,
        backbone.width,
        backbone.stem_width or backbone.width,
        backbone.stride_in_1x1,
        backbone.deformable_stages,
        backbone.deformable_interval,
        channels,
    )


def build_mask_head(config: ModelConfig, num_things: int) -> MaskHead:
    """The mask head its settings name, for `num_things` categories."""
    masks, channels, num_bases = config.masks, config.fpn.channels, config.bases.num_bases
    if masks.head == "blender":
        blender = masks.blender
        return Blender(
            channels, num_bases, masks.resolution, blender.attention_size, blender.interpolation, masks.pooling
        )
    if masks.head == "yolact":
        return LinearCombination(channels, num_bases, masks.resolution, masks.pooling)
    if masks.head == "fcis":
        return PositionSensitive(num_bases, masks.resolution, masks.pooling)
    if masks.head == "centermask_point":
        point = masks.centermask_point
        num_maps = num_things if point.class_specific else 1
        return ShapeTimesSaliency(channels, num_maps, masks.resolution, point.shape_size, masks.pooling)
    if masks.head == "sag":
        sag = masks.sag
        return SpatialAttentionGuided(channels, num_things, masks.resolution, sag.channels, sag.num_convs)
    condinst = masks.condinst
    return ConditionalConvolutions(
        channels,
        [2**level for level in range(3, config.fpn.coarsest_level + 1)],
        config.fcos.sizes_of_interest,
        num_bases,
        masks.resolution,
        condinst.channels,
        condinst.num_layers,
        masks.pooling,
    )


def build_bottom_module(config: ModelConfig, backbone_channels: list[int], num_maps: int) -> nn.Module | None:
    """What draws `num_maps` bases for the mask head; None when it reads none."""
    bases = config.bases
    if num_maps == 0:
        return None
    if bases.kind == "shared":
        return SharedBases(config.semantic.channels, num_maps)
    if bases.kind == "fpn":
        return FPNBases(config.fpn.channels, bases.channels, num_maps, bases.num_convs, bases.norm)
    return DeepLabBases(backbone_channels, bases.deeplab_detail, bases.channels, num_maps, bases.norm)
