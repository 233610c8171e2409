"""Settings of the backbone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from panoptic_blend.config.checks import require


@dataclass
class BackboneConfig:
    """The network that turns an image into C2..C5.

    Args:
        name: resnet18, resnet34, resnet50 or resnet101; efficientnet_lite0; or timm:NAME for a pyramid of the timm
            library that reads images of any size. All but ResNets are trained whole and as they come: of the settings
            below, only `weights` applies to them. NAME may have a tag (resnet50.a1_in1k), by which timm tells a
            network's weights apart.
        weights: 'imagenet' downloads the library's weights, 'none' starts from random ones, anything else is a
            file with a state dict (.pth or .safetensors) under the library's names.
        norm: 'frozen' keeps the statistics and scale of the weights file (needs weights); 'batch' and 'group' are
            trained.
        frozen_stages: stages that are not trained; 1 = stem, 2 = stem and C2, and so on; 0 trains everything. A stem
            that reads other bands than RGB is trained always.
        width: channels of the stem and of the first stage's 3x3 convolutions; 64 is the published network.
        stem_width: channels of the stem when they differ from `width`; 0 means the same.
        stride_in_1x1: bottlenecks stride in their first 1x1 convolution (Caffe's ResNet) instead of the 3x3.
        deformable_stages: stages (2..5) in which every `deformable_interval`-th block has a modulated deformable
            convolution.
        deformable_interval: see `deformable_stages`.
    """

    name: str = "resnet50"
    weights: str = "imagenet"
    norm: Literal["frozen", "batch", "group"] = "frozen"
    frozen_stages: int = 2
    width: int = 64
    stem_width: int = 0
    stride_in_1x1: bool = False
    deformable_stages: tuple[int, ...] = ()
    deformable_interval: int = 3

    def __post_init__(self) -> None:
        self.weights = os.path.expanduser(self.weights)
        require(bool(self.weights), "model.backbone.weights", self.weights, "'imagenet', 'none' or a file")
        known = ("resnet18", "resnet34", "resnet50", "resnet101", "efficientnet_lite0")
        require(
            self.name in known or self.name.startswith("timm:"),
            "model.backbone.name",
            self.name,
            f"one of {', '.join(known)}, or timm:NAME",
        )
        require(0 <= self.frozen_stages <= 5, "model.backbone.frozen_stages", self.frozen_stages, "0 to 5")
        require(self.width > 0, "model.backbone.width", self.width, "positive")
        require(
            all(2 <= s <= 5 for s in self.deformable_stages),
            "model.backbone.deformable_stages",
            self.deformable_stages,
            "stages 2 to 5",
        )
        require(self.stem_width >= 0, "model.backbone.stem_width", self.stem_width, "0 or more")
        require(
            self.deformable_interval >= 1, "model.backbone.deformable_interval", self.deformable_interval, "1 or more"
        )
