"""Settings of the network and of the steps after it. Every checkpoint holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from panoptic_blend.config.backbone import BackboneConfig
from panoptic_blend.config.checks import require
from panoptic_blend.config.masks import MasksConfig


@dataclass
class InputConfig:
    """How an image enters the network.

    Args:
        channels: bands of an image. With 3, images of any kind are read as RGB. With another number, each has just so
            many, in the order of the weights: red, green and blue first where there are three or more. Values of 16
            bits are scaled from 0..65535 to 0..255.
        pixel_mean: subtracted from each channel (0..255 scale), in `channel_order`; null takes the mean that the
            backbone's weights were trained with: ImageNet's for a ResNet, timm's own for timm:NAME; for other bands
            than red, green and blue, their average.
        pixel_std: each channel is divided by it, in `channel_order`; null as for `pixel_mean`.
        channel_order: what the backbone was trained on; images always enter as RGB and are flipped if needed; bands
            after these three stay where they are.
        shortest_edge: at prediction, images are resized so that their shortest edge has this many pixels, limited so
            that the longest has at most `longest_edge`.
        longest_edge: see `shortest_edge`.
    """

    channels: int = 3
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None
    channel_order: Literal["RGB", "BGR"] = "RGB"
    shortest_edge: int = 800
    longest_edge: int = 1333

    def __post_init__(self) -> None:
        require(self.channels >= 1, "model.input.channels", self.channels, "1 or more")
        for name, values in (("pixel_mean", self.pixel_mean), ("pixel_std", self.pixel_std)):
            fits = values is None or len(values) == self.channels
            require(fits, f"model.input.{name}", values, f"as many numbers as model.input.channels ({self.channels})")
        require(self.pixel_std is None or min(self.pixel_std) > 0, "model.input.pixel_std", self.pixel_std, "positive")
        require(
            self.channel_order == "RGB" or self.channels >= 3,
            "model.input.channel_order",
            self.channel_order,
            f"RGB for {self.channels} channels",
        )
        require(self.longest_edge > 0, "model.input.longest_edge", self.longest_edge, "positive")
        require(
            0 < self.shortest_edge <= self.longest_edge,
            "model.input.shortest_edge",
            self.shortest_edge,
            f"between 1 and longest_edge ({self.longest_edge})",
        )


@dataclass
class FPNConfig:
    """The feature pyramid every branch shares (Lin et al., 2017).

    Args:
        channels: width of every level.
        finest_level: 2 with the semantic branch, which alone reads P2, and 3 without it.
        coarsest_level: 5, or 6 and 7 for extra stride-2 convolutions on P5.
    """

    channels: int = 256
    finest_level: Literal[2, 3] = 2
    coarsest_level: Literal[5, 6, 7] = 7

    def __post_init__(self) -> None:
        require(self.channels > 0, "model.fpn.channels", self.channels, "positive")


@dataclass
class FCOSConfig:
    """The detector (Tian et al., 2019), on P3 and coarser.

    Args:
        num_convs: convolutions of the classification tower and of the regression tower.
        num_shared_convs: convolutions before the two part (BlendMask-RT: 3, with num_convs 0).
        norm: normalisation inside the towers; 'batch' keeps one per level.
        level_scales: multiply each level's distances by a learned scalar.
        sizes_of_interest: largest distance (pixels) each level regresses; the last level has no bound.
        center_radius: positives lie within this many strides of a box's centre.
        focal_alpha: weight of positives in the focal loss.
        focal_gamma: focusing of the focal loss.
        score_threshold: detections below are dropped before suppression.
        threshold_with_centerness: compare class score x centerness with the threshold, not the class score alone.
        pre_nms_top_k: candidates per level that enter suppression.
        nms_iou: same-class boxes that overlap more than this are suppressed.
        max_detections: instances kept per image; for more than `pre_nms_top_k`, raise both.
    """

    num_convs: int = 4
    num_shared_convs: int = 0
    norm: Literal["group", "batch", "none"] = "group"
    level_scales: bool = False
    sizes_of_interest: tuple[float, ...] = (64, 128, 256, 512)
    center_radius: float = 1.5
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    score_threshold: float = 0.05
    threshold_with_centerness: bool = True
    pre_nms_top_k: int = 1000
    nms_iou: float = 0.6
    max_detections: int = 100

    def __post_init__(self) -> None:
        require(0 <= self.num_convs <= 100, "model.fcos.num_convs", self.num_convs, "0 to 100")
        require(0 <= self.num_shared_convs <= 100, "model.fcos.num_shared_convs", self.num_shared_convs, "0 to 100")
        require(
            all(0 < smaller <= larger for smaller, larger in pairwise(self.sizes_of_interest)),
            "model.fcos.sizes_of_interest",
            self.sizes_of_interest,
            "positive and in ascending order",
        )
        require(self.center_radius > 0, "model.fcos.center_radius", self.center_radius, "positive")
        require(0 <= self.focal_alpha <= 1, "model.fcos.focal_alpha", self.focal_alpha, "in [0, 1]")
        require(self.focal_gamma >= 0, "model.fcos.focal_gamma", self.focal_gamma, "0 or more")
        require(0 <= self.score_threshold < 1, "model.fcos.score_threshold", self.score_threshold, "in [0, 1)")
        require(self.pre_nms_top_k > 0, "model.fcos.pre_nms_top_k", self.pre_nms_top_k, "positive")
        require(0 <= self.nms_iou <= 1, "model.fcos.nms_iou", self.nms_iou, "in [0, 1]")
        require(self.max_detections > 0, "model.fcos.max_detections", self.max_detections, "positive")


@dataclass
class BasesConfig:
    """Where the bases come from (BlendMask, sec. 3.1, bottom module).

    Args:
        kind: 'shared' draws them from the semantic branch's stride-4 map; 'fpn' refines P3..P5 on its own
            (the published layout); 'deeplab' decodes the backbone's C5 with C3 or C2.
        num_bases: K; published: 'blender' 4, 'yolact' 32, 'fcis' 49, 'condinst' 8. The other mask heads draw what they
            need.
        channels: width of a separate bottom module ('shared' uses the semantic branch's) and of the auxiliary loss's
            predictor.
        num_convs: 3x3 convolutions of the 'fpn' variant before it grows to stride 4.
        deeplab_detail: 'deeplab' decodes at stride 8 with C3 (3) or at stride 4 with C2 (2).
        norm: normalisation of a separate bottom module and of the auxiliary loss's predictor.
        auxiliary_loss_weight: weight of the thing-class semantic loss on the bases' input; 0 leaves it out.
    """

    kind: Literal["shared", "fpn", "deeplab"] = "shared"
    num_bases: int = 4
    channels: int = 128
    num_convs: int = 3
    deeplab_detail: Literal[2, 3] = 3
    norm: Literal["batch", "group"] = "batch"
    auxiliary_loss_weight: float = 0.3

    def __post_init__(self) -> None:
        require(self.num_bases >= 1, "model.bases.num_bases", self.num_bases, "1 or more")
        require(self.channels > 0, "model.bases.channels", self.channels, "positive")
        require(0 <= self.num_convs <= 100, "model.bases.num_convs", self.num_convs, "0 to 100")
        require(
            self.auxiliary_loss_weight >= 0,
            "model.bases.auxiliary_loss_weight",
            self.auxiliary_loss_weight,
            "0 or more",
        )


@dataclass
class SemanticConfig:
    """The stuff branch (Panoptic Feature Pyramid Networks, sec. 3).

    Args:
        enabled: off gives an instance-only model.
        channels: width of the branch and of its stride-4 map.
        loss_weight: weight of its cross-entropy.
        dice_weight: weight of a dice loss beside it, in which every class counts the same; 0 leaves it out.
    """

    enabled: bool = True
    channels: int = 128
    loss_weight: float = 0.5
    dice_weight: float = 0.0

    def __post_init__(self) -> None:
        require(self.channels > 0, "model.semantic.channels", self.channels, "positive")
        require(self.loss_weight >= 0, "model.semantic.loss_weight", self.loss_weight, "0 or more")
        require(self.dice_weight >= 0, "model.semantic.dice_weight", self.dice_weight, "0 or more")


@dataclass
class MergeConfig:
    """Heuristic merge of instances and stuff (Panoptic Segmentation, sec. 6).

    Args:
        min_score: instances below are dropped.
        max_overlap: an instance is dropped when more of it than this share is already taken.
        min_stuff_area: stuff smaller than this many pixels of the output becomes void.
    """

    min_score: float = 0.45
    max_overlap: float = 0.4
    min_stuff_area: int = 4096

    def __post_init__(self) -> None:
        require(0 <= self.min_score <= 1, "model.merge.min_score", self.min_score, "in [0, 1]")
        require(0 <= self.max_overlap <= 1, "model.merge.max_overlap", self.max_overlap, "in [0, 1]")
        require(0 <= self.min_stuff_area < 2**63, "model.merge.min_stuff_area", self.min_stuff_area, "0 or more")


@dataclass
class ModelConfig:
    """The whole network."""

    input: InputConfig = field(default_factory=InputConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    fpn: FPNConfig = field(default_factory=FPNConfig)
    fcos: FCOSConfig = field(default_factory=FCOSConfig)
    bases: BasesConfig = field(default_factory=BasesConfig)
    masks: MasksConfig = field(default_factory=MasksConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)

    def __post_init__(self) -> None:
        levels = self.fpn.coarsest_level - 2
        require(
            len(self.fcos.sizes_of_interest) == levels - 1,
            "model.fcos.sizes_of_interest",
            self.fcos.sizes_of_interest,
            f"{levels - 1} sizes for the {levels} levels P3..P{self.fpn.coarsest_level}",
        )
        if self.semantic.enabled:
            require(
                self.fpn.finest_level == 2, "model.fpn.finest_level", self.fpn.finest_level, "2 for the stuff branch"
            )
        else:
            require(
                self.bases.kind != "shared", "model.bases.kind", self.bases.kind, "'fpn' or 'deeplab' without stuff"
            )
            require(
                self.fpn.finest_level == 3,
                "model.fpn.finest_level",
                self.fpn.finest_level,
                "3 without the stuff branch, which alone reads P2",
            )
