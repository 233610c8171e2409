"""FCOS's head: pyramid levels -> class logits, box distances and centerness (Tian et al., 2019)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.modeling.network.layers import Norm, group_norm

_PRIOR = 0.01
"""Initial foreground probability, which keeps the focal loss small at the start (RetinaNet, sec. 4.1)."""


class HeadOutput(NamedTuple):
    """Raw outputs, one tensor per level.

    Attributes:
        class_logits: [B, T, H_l, W_l].
        distances: [B, 4, H_l, W_l] left, top, right, bottom in units of the level's stride, >= 0.
        centerness: [B, 1, H_l, W_l] logits.
        towers: [B, C, H_l, W_l] regression tower, which per-instance predictions (attention) are read from.
    """

    class_logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    towers: list[Tensor]


class PerLevelNorm(nn.ModuleList):
    """One BatchNorm per level behind shared convolutions: levels differ in their statistics."""

    def __init__(self, channels: int, num_levels: int):
        super().__init__(nn.BatchNorm2d(channels) for _ in range(num_levels))


class Tower(nn.ModuleList):
    """Convolution + norm + ReLU, repeated, over every level with the same weights."""

    def __init__(self, channels: int, num_convs: int, norm: Norm, num_levels: int):
        layers: list[nn.Module] = []
        for _ in range(num_convs):
            layers.append(_small_normal(nn.Conv2d(channels, channels, 3, padding=1)))
            if norm == "batch":
                layers.append(PerLevelNorm(channels, num_levels))
            elif norm == "group":
                layers.append(group_norm(channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(layers)

    def forward(self, x: Tensor, level: int) -> Tensor:
        """[B, C, H, W] of the `level`-th level -> the same shape."""
        for layer in self:
            x = layer[level](x) if isinstance(layer, PerLevelNorm) else layer(x)
        return x


class FCOSHead(nn.Module):
    """Towers and predictors shared by all levels.

    Args:
        channels: width of the pyramid and of the towers.
        num_classes: thing categories.
        num_levels: pyramid levels the head runs on.
        num_convs: convolutions of each of the two towers.
        num_shared_convs: convolutions before the towers part.
        norm: normalisation in the towers.
        level_scales: learn one scalar per level for the distances.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        num_levels: int,
        num_convs: int = 4,
        num_shared_convs: int = 0,
        norm: Norm = "group",
        level_scales: bool = False,
    ):
        super().__init__()
        self.shared_tower = Tower(channels, num_shared_convs, norm, num_levels)
        self.class_tower = Tower(channels, num_convs, norm, num_levels)
        self.box_tower = Tower(channels, num_convs, norm, num_levels)
        self.class_logits = _small_normal(nn.Conv2d(channels, num_classes, 3, padding=1))
        self.distances = _small_normal(nn.Conv2d(channels, 4, 3, padding=1))
        self.centerness = _small_normal(nn.Conv2d(channels, 1, 3, padding=1))
        nn.init.constant_(self.class_logits.bias, -math.log((1 - _PRIOR) / _PRIOR))  # type: ignore[arg-type]
        self.scales = nn.Parameter(self.distances.weight.new_ones(num_levels)) if level_scales else None

    def forward(self, levels: list[Tensor]) -> HeadOutput:
        """Levels [B, C, H_l, W_l] -> `HeadOutput`."""
        output = HeadOutput([], [], [], [])
        for level, feature in enumerate(levels):
            shared = self.shared_tower(feature, level)
            class_tower = self.class_tower(shared, level)
            box_tower = self.box_tower(shared, level)
            output.class_logits.append(self.class_logits(class_tower))
            distances = self.distances(box_tower)
            output.distances.append(F.relu(distances if self.scales is None else distances * self.scales[level]))
            output.centerness.append(self.centerness(box_tower))
            output.towers.append(box_tower)
        return output


def _small_normal(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.normal_(convolution.weight, std=0.01)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution
