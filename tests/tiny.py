"""The smallest model that still has every part, for tests."""

from __future__ import annotations

from dataclasses import replace

from panoptic_blend.config import (
    BackboneConfig,
    BasesConfig,
    BlenderConfig,
    CenterMaskPointConfig,
    CondInstConfig,
    FCOSConfig,
    FPNConfig,
    InputConfig,
    MasksConfig,
    ModelConfig,
    SAGConfig,
    SemanticConfig,
)


def tiny_model_config() -> ModelConfig:
    """A ResNet-18 of width 8 with 16-channel pyramid and heads; random weights, P2..P5, 64-pixel images."""
    return ModelConfig(
        input=InputConfig(shortest_edge=64, longest_edge=128),
        backbone=BackboneConfig(name="resnet18", weights="none", norm="batch", frozen_stages=0, width=8),
        fpn=FPNConfig(channels=16, coarsest_level=5),
        fcos=FCOSConfig(num_convs=1, sizes_of_interest=(32, 64), max_detections=20),
        bases=BasesConfig(kind="shared", channels=16),
        masks=MasksConfig(resolution=14, blender=BlenderConfig(attention_size=7)),
        semantic=SemanticConfig(channels=16),
    )


def talkative_model_config() -> ModelConfig:
    """The tiny model keeps whatever it sees: instances and stuff even from random weights."""
    config = tiny_model_config()
    config.merge.min_score = config.fcos.score_threshold = 0.0
    config.merge.min_stuff_area = 0
    return config


MASK_HEADS: dict[str, tuple[int, MasksConfig]] = {
    "blender": (4, MasksConfig(resolution=14, blender=BlenderConfig(attention_size=7))),
    "blender_of_one_basis": (1, MasksConfig(resolution=14, blender=BlenderConfig(attention_size=7))),
    "blender_of_nearest": (
        4,
        MasksConfig(resolution=14, pooling="nearest", blender=BlenderConfig(attention_size=7, interpolation="nearest")),
    ),
    "yolact": (8, MasksConfig(head="yolact", resolution=14)),
    "fcis": (9, MasksConfig(head="fcis", resolution=14)),
    "centermask_point": (
        4,
        MasksConfig(head="centermask_point", resolution=14, centermask_point=CenterMaskPointConfig(shape_size=7)),
    ),
    "centermask_point_by_class": (
        4,
        MasksConfig(head="centermask_point", resolution=14, centermask_point=CenterMaskPointConfig(7, True)),
    ),
    "sag": (4, MasksConfig(head="sag", resolution=14, sag=SAGConfig(channels=16, num_convs=2))),
    "condinst": (8, MasksConfig(head="condinst", resolution=14, condinst=CondInstConfig())),
}
"""Every mask head and its variants, as (bases, settings) for the tiny model."""


def tiny_model_config_with(mask_head: str) -> ModelConfig:
    """The tiny model with one of `MASK_HEADS`."""
    num_bases, masks = MASK_HEADS[mask_head]
    config = tiny_model_config()
    return replace(config, bases=replace(config.bases, num_bases=num_bases), masks=replace(masks))
