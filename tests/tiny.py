"""The smallest model that still has every part, for tests."""

from __future__ import annotations

from panoptic_blend.config import (
    BackboneConfig,
    BasesConfig,
    BlenderConfig,
    FCOSConfig,
    FPNConfig,
    InputConfig,
    MasksConfig,
    ModelConfig,
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
