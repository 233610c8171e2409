"""Settings of the mask heads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from panoptic_blend.config.checks import require


@dataclass
class BlenderConfig:
    """How attention mixes the bases into masks (BlendMask, sec. 3.2).

    Args:
        attention_size: M, side of an instance's attention map.
        interpolation: how M x M grows to the masks' R x R.
    """

    attention_size: int = 14
    interpolation: Literal["bilinear", "nearest"] = "bilinear"


@dataclass
class CenterMaskPointConfig:
    """Local shape times global saliency (CenterMask by point representation, Wang et al., 2020).

    Args:
        shape_size: side of an instance's local shape.
        class_specific: one saliency map for each thing category instead of one for all.
    """

    shape_size: int = 32
    class_specific: bool = False

    def __post_init__(self) -> None:
        require(self.shape_size >= 1, "model.masks.centermask_point.shape_size", self.shape_size, "positive")


@dataclass
class SAGConfig:
    """Spatial-attention-guided mask branch (CenterMask, Lee and Park, 2020).

    Args:
        channels: width of its convolutions.
        num_convs: 3x3 convolutions before the attention.
    """

    channels: int = 256
    num_convs: int = 4

    def __post_init__(self) -> None:
        require(self.channels > 0, "model.masks.sag.channels", self.channels, "positive")
        require(0 <= self.num_convs <= 100, "model.masks.sag.num_convs", self.num_convs, "0 to 100")


@dataclass
class CondInstConfig:
    """A small network predicted for every instance (CondInst, Tian et al., 2020).

    Args:
        channels: width of its hidden layers.
        num_layers: its 1x1 convolutions.
    """

    channels: int = 8
    num_layers: int = 3

    def __post_init__(self) -> None:
        require(self.channels > 0, "model.masks.condinst.channels", self.channels, "positive")
        require(1 <= self.num_layers <= 100, "model.masks.condinst.num_layers", self.num_layers, "1 to 100")


@dataclass
class MasksConfig:
    """How a box becomes a mask. Each head reads the settings below and those under its own name.

    Args:
        head: 'blender' mixes the bases by attention maps; 'yolact' by one coefficient a basis; 'fcis' reads cell (i, j)
            of the box from basis (i, j); 'centermask_point' multiplies a local shape with a saliency map; 'sag' runs
            convolutions on features pooled from the box; 'condinst' runs a network predicted for the instance.
        resolution: R, side of a mask in the box ('sag' pools at half of it; published: 28).
        pooling: how bases are sampled inside a box ('sag': always bilinear).
        loss_weight: weight of the mask loss, cross-entropy.
        dice_weight: weight of a dice loss of the masks beside it; 0 leaves it out.
    """

    head: Literal["blender", "yolact", "fcis", "centermask_point", "sag", "condinst"] = "blender"
    resolution: int = 56
    pooling: Literal["bilinear", "nearest"] = "bilinear"
    loss_weight: float = 1.0
    dice_weight: float = 0.0
    blender: BlenderConfig = field(default_factory=BlenderConfig)
    centermask_point: CenterMaskPointConfig = field(default_factory=CenterMaskPointConfig)
    sag: SAGConfig = field(default_factory=SAGConfig)
    condinst: CondInstConfig = field(default_factory=CondInstConfig)

    def __post_init__(self) -> None:
        require(self.resolution >= 1, "model.masks.resolution", self.resolution, "positive")
        require(self.loss_weight >= 0, "model.masks.loss_weight", self.loss_weight, "0 or more")
        require(self.dice_weight >= 0, "model.masks.dice_weight", self.dice_weight, "0 or more")
        if self.head == "blender":
            require(
                1 <= self.blender.attention_size <= self.resolution,
                "model.masks.blender.attention_size",
                self.blender.attention_size,
                f"between 1 and resolution ({self.resolution})",
            )
        if self.head == "sag":
            require(self.resolution % 2 == 0, "model.masks.resolution", self.resolution, "even for 'sag'")
