"""From settings to what Lightning runs."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import torch

from panoptic_blend.config import Config
from panoptic_blend.modeling.hardware import can_compile
from panoptic_blend.modeling.network.winograd import compute_by_tiles
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.training.hardware import Accelerator
from panoptic_blend.training.module import TrainingModule
from panoptic_blend.training.saving import WrittenInPlace


def build_module(config: Config, model: PanopticBlend, accelerator: Accelerator) -> TrainingModule:
    """What Lightning trains: the model with its optimiser and averaged weights, compiled or tiled as set."""
    settings = config.trainer
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    compiled = settings.compile and can_compile(torch.device("cuda" if accelerator == "gpu" else "cpu"))
    if settings.tiles and accelerator == "cpu" and settings.precision == "fp32" and not compiled:
        compute_by_tiles(model.network)
    module = TrainingModule(
        model, config.optimizer, settings.batch_size, settings.max_steps, settings.ema_decay, settings.seed
    )
    if compiled:
        model.network.compile()  # in place: the names of the weights stay as they are
    return module


def build_trainer(config: Config, accelerator: Accelerator, run: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's loop, with all but the loop left to the callbacks."""
    settings = config.trainer
    several = settings.devices * settings.num_nodes > 1
    return pl.Trainer(
        accelerator=accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy="ddp" if several else "auto",
        sync_batchnorm=several and accelerator == "gpu",
        precision={"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[settings.precision],  # type: ignore[arg-type]
        max_epochs=-1,  # `RunKeeper` ends the run: a validation may be left to do when there is no step left
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=config.optimizer.clip_norm or None,
        logger=False,  # `StepLog` and `RunKeeper` write to loggers themselves, and outlive those that fail
        callbacks=callbacks,
        default_root_dir=run,
        # Sampling, checkpoints, validation and progress are the callbacks' and loaders' own.
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        plugins=[WrittenInPlace()],
    )
