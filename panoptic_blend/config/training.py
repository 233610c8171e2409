"""Settings of a training run: its data, optimiser and course."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal

from panoptic_blend.config.checks import require
from panoptic_blend.config.model import ModelConfig

_DATA_PATHS = (
    "root",
    "train_images",
    "train_annotations",
    "train_segments",
    "val_images",
    "val_annotations",
    "val_segments",
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
        shortest_edge: training images are resized to a shortest edge drawn from this list, in pixels, limited so that
            the longest has at most `longest_edge`.
        longest_edge: see `shortest_edge`.
        jitter: large-scale jitter: multiply the size by a factor drawn from this range, then crop to `crop`.
        crop: (height, width) of a training crop in pixels, needed with `jitter`; null takes whole images.
        flip: probability of a horizontal flip.
        color: strength of brightness, contrast and saturation jitter; 0 = off.
        repeat_threshold: images with a category that fewer than this share of the images have are shown more often
            (LVIS's repeat-factor sampling: sqrt(threshold / share) times); 0 = every image once.
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
    repeat_threshold: float = 0.0
    workers: int = 2
    on_bad_sample: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        for name in _DATA_PATHS:
            setattr(self, name, os.path.expanduser(getattr(self, name)))
        require(
            len(self.shortest_edge) > 0 and min(self.shortest_edge) > 0,
            "data.shortest_edge",
            self.shortest_edge,
            "a list of positive sizes",
        )
        require(self.longest_edge > 0, "data.longest_edge", self.longest_edge, "positive")
        require(0 <= self.flip <= 1, "data.flip", self.flip, "in [0, 1]")
        require(0 <= self.color <= 1, "data.color", self.color, "in [0, 1]")
        require(0 <= self.repeat_threshold <= 1, "data.repeat_threshold", self.repeat_threshold, "in [0, 1]")
        require(0 <= self.workers <= 1024, "data.workers", self.workers, "0 to 1024")
        require(self.crop is None or min(self.crop) > 0, "data.crop", self.crop, "a positive (height, width)")
        if self.jitter is not None:
            require(self.crop is not None, "data.crop", self.crop, "a (height, width) when data.jitter is set")
            require(0 < self.jitter[0] <= self.jitter[1], "data.jitter", self.jitter, "a range (low, high), low > 0")


@dataclass
class OptimizerConfig:
    """Optimiser and learning-rate schedule.

    Args:
        name: 'sgd' (without Nesterov's momentum, as published) or 'adamw'.
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
        require(self.lr > 0, "optimizer.lr", self.lr, "positive")
        require(self.reference_batch_size > 0, "optimizer.reference_batch_size", self.reference_batch_size, "positive")
        require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "in [0, 1)")
        require(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")
        require(self.backbone_lr_factor >= 0, "optimizer.backbone_lr_factor", self.backbone_lr_factor, "0 or more")
        require(self.clip_norm >= 0, "optimizer.clip_norm", self.clip_norm, "0 or more")
        require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "0 or more")
        require(all(0 < m < 1 for m in self.milestones), "optimizer.milestones", self.milestones, "shares in (0, 1)")


@dataclass
class TrainerConfig:
    """How long, on what, and what is written.

    Args:
        output: run folder: config, logs, checkpoints.
        max_steps: optimiser steps.
        batch_size: images per optimiser step, over all devices and accumulated batches.
        accumulate: forward-backward passes per optimiser step; must divide batch_size with the devices.
        precision: 'fp32', or mixed precision 'bf16' / 'fp16'. 'auto' takes bf16 where the hardware multiplies it (CPUs
            with AVX512-BF16 or AMX, GPUs from Ampere on), else fp32; a resumed run keeps what it began with.
        accelerator: 'auto' takes a GPU when there is one.
        devices: processes on this machine; when torchrun starts them, as many as its --nproc-per-node.
        num_nodes: machines; when torchrun starts them, as many as its --nnodes.
        ema_decay: keep an exponential moving average of the weights and validate with it; 0 = off. After n steps, its
            decay is (1 + n) / (10 + n) at most, so that it forgets how the run began.
        val_every: validate (PQ) every so many steps and at the end; 0 = only at the end.
        checkpoint_every: write resumable state every so many steps.
        patience: end early when so many validations in a row bring no higher PQ; 0 = never.
        log_every: write losses every so many steps.
        loggers: where losses, PQ and pictures of a few validation scenes go, beside the CSV files: 'tensorboard',
            'wandb', 'mlflow', or import paths of Lightning loggers.
        channels_last: keep tensors in the memory layout that is fastest on CPUs and tensor cores.
        compile: compile the network with torch.compile; where torch finds no C++ compiler it runs uncompiled.
        tiles: on CPUs in fp32, uncompiled, compute wide convolutions by tiles, which is faster and differs by one part
            in 10^6; false leaves every convolution to torch.
        seed: of weights, order and augmentation.
    """

    output: str = "runs/train"
    max_steps: int = 90000
    batch_size: int = 16
    accumulate: int = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    ema_decay: float = 0.0
    val_every: int = 5000
    checkpoint_every: int = 1000
    patience: int = 0
    log_every: int = 20
    loggers: tuple[str, ...] = ("tensorboard",)
    channels_last: bool = True
    compile: bool = False
    tiles: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        self.output = os.path.expanduser(self.output)
        require(self.max_steps > 0, "trainer.max_steps", self.max_steps, "positive")
        require(self.accumulate > 0, "trainer.accumulate", self.accumulate, "positive")
        require(self.devices > 0, "trainer.devices", self.devices, "positive")
        require(self.num_nodes > 0, "trainer.num_nodes", self.num_nodes, "positive")
        parts = self.accumulate * self.devices * self.num_nodes
        require(
            self.batch_size > 0 and self.batch_size % parts == 0,
            "trainer.batch_size",
            self.batch_size,
            f"a multiple of accumulate x devices x num_nodes ({parts})",
        )
        require(0 <= self.ema_decay < 1, "trainer.ema_decay", self.ema_decay, "in [0, 1)")
        require(self.val_every >= 0, "trainer.val_every", self.val_every, "0 or more")
        require(self.checkpoint_every > 0, "trainer.checkpoint_every", self.checkpoint_every, "positive")
        require(self.log_every > 0, "trainer.log_every", self.log_every, "positive")
        require(self.patience >= 0, "trainer.patience", self.patience, "0 or more")
        require(
            self.patience == 0 or self.val_every > 0,
            "trainer.val_every",
            self.val_every,
            "positive with trainer.patience",
        )
        require(0 <= self.seed < 2**63, "trainer.seed", self.seed, "0 or more and below 2^63")


@dataclass
class Config:
    """Everything one training run needs; `configs/` holds ready ones."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
