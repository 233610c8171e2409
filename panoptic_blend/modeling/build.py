"""The parts of the model as the settings describe them; `build_model` puts them together."""

from __future__ import annotations

from torch import nn

from panoptic_blend.config import ModelConfig
from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.network.backbone import ResNet, TimmBackbone, load_backbone_weights
from panoptic_blend.modeling.network.bases import DeepLabBases, FPNBases, SharedBases
from panoptic_blend.modeling.network.masks.blender import Blender
from panoptic_blend.modeling.network.masks.centermask_point import ShapeTimesSaliency
from panoptic_blend.modeling.network.masks.condinst import ConditionalConvolutions
from panoptic_blend.modeling.network.masks.fcis import PositionSensitive
from panoptic_blend.modeling.network.masks.head import MaskHead
from panoptic_blend.modeling.network.masks.sag import SpatialAttentionGuided
from panoptic_blend.modeling.network.masks.yolact import LinearCombination


def build_backbone(config: ModelConfig, pretrained: bool) -> ResNet | TimmBackbone:
    """The backbone, with the weights its settings name if `pretrained`."""
    backbone = config.backbone
    if backbone.name.startswith("timm:"):
        if pretrained and backbone.weights not in ("imagenet", "none"):
            raise ConfigError(
                f"model.backbone.weights is {backbone.weights!r}; for a timm backbone it must be 'imagenet' or 'none'."
            )
        return TimmBackbone(backbone.name.removeprefix("timm:"), pretrained and backbone.weights == "imagenet")
    if pretrained and backbone.weights == "none" and backbone.norm == "frozen":
        raise ConfigError(
            "model.backbone.norm is 'frozen' but weights is 'none': random weights need 'batch' or 'group'. "
            "Or start from trained ones: `train --init-from FILE`, or their file as model.backbone.weights."
        )
    resnet = ResNet(
        backbone.name,
        backbone.norm,
        backbone.frozen_stages,
        backbone.width,
        backbone.stem_width or backbone.width,
        backbone.stride_in_1x1,
        backbone.deformable_stages,
        backbone.deformable_interval,
    )
    if pretrained and backbone.weights != "none":
        load_backbone_weights(resnet, backbone.name, backbone.weights)
    return resnet


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
