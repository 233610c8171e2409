"""Every setting, documented and bounded once. YAML files, `--dotted.overrides` and `--help` all come from here.

Only the builder (`modeling.panoptic_blend.build_model`) and the command line read these classes;
modules take explicit arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from panoptic_blend.errors import ConfigError


def _require(condition: bool, setting: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{setting} is {value!r}; it must be {expected}.")


@dataclass
class InputConfig:
    """How an image enters the network.

    Args:
        pixel_mean: subtracted from each channel (0..255 scale), in `channel_order`.
        pixel_std: each channel is divided by it, in `channel_order`.
        channel_order: what the backbone was trained on; images always enter as RGB and are flipped if needed.
        shortest_edge: at prediction, images are resized to this shortest edge in pixels...
        longest_edge: ...unless the longest would pass this many pixels.
    """

    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    channel_order: Literal["RGB", "BGR"] = "RGB"
    shortest_edge: int = 800
    longest_edge: int = 1333

    def __post_init__(self) -> None:
        _require(min(self.pixel_std) > 0, "model.input.pixel_std", self.pixel_std, "positive")
        _require(
            0 < self.shortest_edge <= self.longest_edge,
            "model.input.shortest_edge",
            self.shortest_edge,
            f"between 1 and longest_edge ({self.longest_edge})",
        )


@dataclass
class BackboneConfig:
    """The network that turns an image into C2..C5.

    Args:
        name: resnet18, resnet34, resnet50 or resnet101; or timm:NAME for any pyramid of the timm library, which is
            trained whole and as it comes: of the settings below, only `weights` ('imagenet' or 'none') applies to it.
        weights: 'imagenet' downloads the library's weights, 'none' starts from random ones, anything else is a
            file with a state dict (.pth or .safetensors).
        norm: 'frozen' keeps the statistics and scale of the weights file (needs weights), 'batch' or 'group' train.
        frozen_stages: stages that are not trained; 1 = stem, 2 = stem and C2, and so on; 0 trains everything.
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
        known = ("resnet18", "resnet34", "resnet50", "resnet101")
        _require(
            self.name in known or self.name.startswith("timm:"),
            "model.backbone.name",
            self.name,
            f"one of {', '.join(known)}, or timm:NAME",
        )
        _require(0 <= self.frozen_stages <= 5, "model.backbone.frozen_stages", self.frozen_stages, "0 to 5")
        _require(self.width > 0, "model.backbone.width", self.width, "positive")
        _require(
            all(2 <= s <= 5 for s in self.deformable_stages),
            "model.backbone.deformable_stages",
            self.deformable_stages,
            "stages 2 to 5",
        )
        _require(self.stem_width >= 0, "model.backbone.stem_width", self.stem_width, "0 or more")
        _require(
            self.deformable_interval >= 1, "model.backbone.deformable_interval", self.deformable_interval, "1 or more"
        )


@dataclass
class FPNConfig:
    """The feature pyramid every branch shares (Lin et al., 2017).

    Args:
        channels: width of every level.
        finest_level: 2 when the semantic branch (or a trunk) reads P2, else 3.
        coarsest_level: 5, or 6 and 7 for extra stride-2 convolutions on P5.
    """

    channels: int = 256
    finest_level: Literal[2, 3] = 2
    coarsest_level: Literal[5, 6, 7] = 7

    def __post_init__(self) -> None:
        _require(self.channels > 0, "model.fpn.channels", self.channels, "positive")


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
        max_detections: instances kept per image.
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
        _require(self.num_convs >= 0, "model.fcos.num_convs", self.num_convs, "0 or more")
        _require(self.num_shared_convs >= 0, "model.fcos.num_shared_convs", self.num_shared_convs, "0 or more")
        _require(
            list(self.sizes_of_interest) == sorted(self.sizes_of_interest),
            "model.fcos.sizes_of_interest",
            self.sizes_of_interest,
            "in ascending order",
        )
        _require(self.center_radius > 0, "model.fcos.center_radius", self.center_radius, "positive")
        _require(0 <= self.score_threshold < 1, "model.fcos.score_threshold", self.score_threshold, "in [0, 1)")
        _require(self.pre_nms_top_k > 0, "model.fcos.pre_nms_top_k", self.pre_nms_top_k, "positive")
        _require(0 <= self.nms_iou <= 1, "model.fcos.nms_iou", self.nms_iou, "in [0, 1]")
        _require(self.max_detections > 0, "model.fcos.max_detections", self.max_detections, "positive")


@dataclass
class BasesConfig:
    """Where the bases come from (BlendMask, sec. 3.1, bottom module).

    Args:
        kind: 'shared' draws them from the semantic branch's stride-4 map; 'fpn' refines P3..P5 on its own
            (the published layout); 'deeplab' decodes the backbone's C5 with C3 or C2.
        num_bases: K; published: 'blender' 4, 'yolact' 32, 'fcis' 49, 'condinst' 8. The other mask heads draw what they
            need.
        channels: width of a separate bottom module ('shared' uses the semantic branch's).
        num_convs: 3x3 convolutions of the 'fpn' variant before it grows to stride 4.
        deeplab_detail: 'deeplab' decodes at stride 8 with C3 (3) or at stride 4 with C2 (2).
        norm: normalisation of a separate bottom module.
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
        _require(self.num_bases >= 1, "model.bases.num_bases", self.num_bases, "1 or more")
        _require(self.channels > 0, "model.bases.channels", self.channels, "positive")
        _require(self.num_convs >= 0, "model.bases.num_convs", self.num_convs, "0 or more")
        _require(
            self.auxiliary_loss_weight >= 0,
            "model.bases.auxiliary_loss_weight",
            self.auxiliary_loss_weight,
            "0 or more",
        )


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
        _require(self.shape_size >= 1, "model.masks.centermask_point.shape_size", self.shape_size, "positive")


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
        _require(self.channels > 0, "model.masks.sag.channels", self.channels, "positive")
        _require(self.num_convs >= 0, "model.masks.sag.num_convs", self.num_convs, "0 or more")


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
        _require(self.channels > 0, "model.masks.condinst.channels", self.channels, "positive")
        _require(self.num_layers >= 1, "model.masks.condinst.num_layers", self.num_layers, "1 or more")


@dataclass
class MasksConfig:
    """How a box becomes a mask. Each head reads the settings below and those under its own name.

    Args:
        head: 'blender' mixes the bases by attention maps; 'yolact' by one coefficient a basis; 'fcis' reads cell (i, j)
            of the box from basis (i, j); 'centermask_point' multiplies a local shape with a saliency map; 'sag' runs
            convolutions on features pooled from the box; 'condinst' runs a network predicted for the instance.
        resolution: R, side of a mask in the box ('sag' pools at half of it; published: 28).
        pooling: how bases are sampled inside a box.
        loss_weight: weight of the mask loss.
    """

    head: Literal["blender", "yolact", "fcis", "centermask_point", "sag", "condinst"] = "blender"
    resolution: int = 56
    pooling: Literal["bilinear", "nearest"] = "bilinear"
    loss_weight: float = 1.0
    blender: BlenderConfig = field(default_factory=BlenderConfig)
    centermask_point: CenterMaskPointConfig = field(default_factory=CenterMaskPointConfig)
    sag: SAGConfig = field(default_factory=SAGConfig)
    condinst: CondInstConfig = field(default_factory=CondInstConfig)

    def __post_init__(self) -> None:
        _require(self.resolution >= 1, "model.masks.resolution", self.resolution, "positive")
        _require(self.loss_weight >= 0, "model.masks.loss_weight", self.loss_weight, "0 or more")
        if self.head == "blender":
            _require(
                1 <= self.blender.attention_size <= self.resolution,
                "model.masks.blender.attention_size",
                self.blender.attention_size,
                f"between 1 and resolution ({self.resolution})",
            )
        if self.head == "sag":
            _require(self.resolution % 2 == 0, "model.masks.resolution", self.resolution, "even for 'sag'")


@dataclass
class SemanticConfig:
    """The stuff branch (Panoptic Feature Pyramid Networks, sec. 3).

    Args:
        enabled: off gives an instance-only model.
        channels: width of the branch and of its stride-4 map.
        loss_weight: weight of its cross-entropy.
    """

    enabled: bool = True
    channels: int = 128
    loss_weight: float = 0.5

    def __post_init__(self) -> None:
        _require(self.channels > 0, "model.semantic.channels", self.channels, "positive")
        _require(self.loss_weight >= 0, "model.semantic.loss_weight", self.loss_weight, "0 or more")


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
        _require(0 <= self.min_score <= 1, "model.merge.min_score", self.min_score, "in [0, 1]")
        _require(0 <= self.max_overlap <= 1, "model.merge.max_overlap", self.max_overlap, "in [0, 1]")
        _require(self.min_stuff_area >= 0, "model.merge.min_stuff_area", self.min_stuff_area, "0 or more")


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
        _require(
            len(self.fcos.sizes_of_interest) == levels - 1,
            "model.fcos.sizes_of_interest",
            self.fcos.sizes_of_interest,
            f"{levels - 1} sizes for the {levels} levels P3..P{self.fpn.coarsest_level}",
        )
        if self.semantic.enabled:
            _require(
                self.fpn.finest_level == 2, "model.fpn.finest_level", self.fpn.finest_level, "2 for the stuff branch"
            )
        else:
            _require(
                self.bases.kind != "shared", "model.bases.kind", self.bases.kind, "'fpn' or 'deeplab' without stuff"
            )


@dataclass
class DataConfig:
    """Where images and their panoptic truth lie, and how training images are varied.

    Args:
        root: folder the other paths are relative to.
        train_images: folder of training images.
        train_annotations: COCO panoptic JSON of the training images.
        train_segments: folder of the id-map PNGs; empty means the annotations' path without '.json', or the folder of
            that name one level up.
        val_images: folder of validation images.
        val_annotations: COCO panoptic JSON of the validation images.
        val_segments: as train_segments.
        shortest_edge: training images get a shortest edge drawn from this list, in pixels...
        longest_edge: ...unless the longest would pass this.
        jitter: large-scale jitter: multiply the size by a factor drawn from this range, then crop to `crop`.
        crop: (height, width) of a training crop in pixels, needed with `jitter`; null takes whole images.
        flip: probability of a horizontal flip.
        color: strength of brightness, contrast and saturation jitter; 0 = off.
        workers: loader processes per training process.
        on_bad_sample: 'raise' checks every id map before training starts and stops at the first bad sample; 'skip'
            leaves bad samples out and reports how many.
    """

    root: str = "."
    train_images: str = "train"
    train_annotations: str = "annotations/panoptic_train.json"
    train_segments: str = ""
    val_images: str = "val"
    val_annotations: str = "annotations/panoptic_val.json"
    val_segments: str = ""
    shortest_edge: tuple[int, ...] = (640, 672, 704, 736, 768, 800)
    longest_edge: int = 1333
    jitter: tuple[float, float] | None = None
    crop: tuple[int, int] | None = None
    flip: float = 0.5
    color: float = 0.0
    workers: int = 2
    on_bad_sample: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        _require(
            len(self.shortest_edge) > 0 and min(self.shortest_edge) > 0,
            "data.shortest_edge",
            self.shortest_edge,
            "a list of positive sizes",
        )
        _require(self.longest_edge > 0, "data.longest_edge", self.longest_edge, "positive")
        _require(0 <= self.flip <= 1, "data.flip", self.flip, "in [0, 1]")
        _require(0 <= self.color <= 1, "data.color", self.color, "in [0, 1]")
        _require(self.workers >= 0, "data.workers", self.workers, "0 or more")
        _require(self.crop is None or min(self.crop) > 0, "data.crop", self.crop, "a positive (height, width)")
        if self.jitter is not None:
            _require(self.crop is not None, "data.crop", self.crop, "a (height, width) when data.jitter is set")
            _require(0 < self.jitter[0] <= self.jitter[1], "data.jitter", self.jitter, "a range (low, high), low > 0")


@dataclass
class OptimizerConfig:
    """Optimiser and learning-rate schedule.

    Args:
        name: 'sgd' (Nesterov-free, the published choice) or 'adamw'.
        lr: learning rate for batches of `reference_batch_size` images; scaled linearly with the real batch.
        reference_batch_size: see `lr`.
        momentum: of SGD.
        weight_decay: applied to convolution weights, never to norms or biases.
        backbone_lr_factor: the backbone learns at lr times this.
        warmup_steps: steps of linear warm-up from lr / 1000.
        schedule: 'step' divides by 10 at `milestones`, 'cosine' falls to 0, 'poly' falls to 0 with power 0.9.
        milestones: shares of max_steps at which 'step' divides.
        clip_norm: gradients are scaled to at most this norm; 0 = off.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    reference_batch_size: int = 16
    momentum: float = 0.9
    weight_decay: float = 1e-4
    backbone_lr_factor: float = 1.0
    warmup_steps: int = 1000
    schedule: Literal["step", "cosine", "poly"] = "step"
    milestones: tuple[float, ...] = (0.6667, 0.8889)
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        _require(self.lr > 0, "optimizer.lr", self.lr, "positive")
        _require(self.reference_batch_size > 0, "optimizer.reference_batch_size", self.reference_batch_size, "positive")
        _require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "in [0, 1)")
        _require(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")
        _require(self.backbone_lr_factor >= 0, "optimizer.backbone_lr_factor", self.backbone_lr_factor, "0 or more")
        _require(self.clip_norm >= 0, "optimizer.clip_norm", self.clip_norm, "0 or more")
        _require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "0 or more")
        _require(all(0 < m < 1 for m in self.milestones), "optimizer.milestones", self.milestones, "shares in (0, 1)")


@dataclass
class TrainerConfig:
    """How long, on what, and what is written.

    Args:
        output: run folder: config, logs, checkpoints.
        max_steps: optimiser steps.
        batch_size: images per optimiser step, over all devices and accumulated batches.
        accumulate: forward-backward passes per optimiser step; must divide batch_size with the devices.
        precision: 'fp32', or mixed precision 'bf16' / 'fp16'.
        accelerator: 'auto' takes a GPU when there is one.
        devices: processes on this machine; when torchrun starts them, as many as its --nproc-per-node.
        num_nodes: machines; when torchrun starts them, as many as its --nnodes.
        ema_decay: keep an exponential moving average of the weights and validate with it; 0 = off.
        val_every: validate (PQ) every so many steps and at the end; 0 = only at the end.
        checkpoint_every: write resumable state every so many steps.
        log_every: write losses every so many steps.
        channels_last: keep tensors in the memory layout that is fastest on CPUs and tensor cores.
        compile: compile the network with torch.compile.
        seed: of weights, order and augmentation.
    """

    output: str = "runs/train"
    max_steps: int = 90000
    batch_size: int = 16
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    ema_decay: float = 0.0
    val_every: int = 5000
    checkpoint_every: int = 1000
    log_every: int = 20
    channels_last: bool = True
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.max_steps > 0, "trainer.max_steps", self.max_steps, "positive")
        parts = self.accumulate * self.devices * self.num_nodes
        _require(self.accumulate > 0 and self.devices > 0 and self.num_nodes > 0, "trainer.devices", parts, "positive")
        _require(
            self.batch_size > 0 and self.batch_size % parts == 0,
            "trainer.batch_size",
            self.batch_size,
            f"a multiple of accumulate x devices x num_nodes ({parts})",
        )
        _require(0 <= self.ema_decay < 1, "trainer.ema_decay", self.ema_decay, "in [0, 1)")
        _require(self.val_every >= 0, "trainer.val_every", self.val_every, "0 or more")
        _require(self.checkpoint_every > 0, "trainer.checkpoint_every", self.checkpoint_every, "positive")
        _require(self.log_every > 0, "trainer.log_every", self.log_every, "positive")


@dataclass
class Config:
    """Everything one training run needs; `configs/` holds ready ones."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
