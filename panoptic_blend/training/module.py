"""The model as Lightning trains it: losses, optimiser, averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from panoptic_blend.config import OptimizerConfig
from panoptic_blend.data.dataset import Batch
from panoptic_blend.errors import TrainingError
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.training.optimization import lr_factor, make_optimizer, parameter_groups


class TrainingModule(pl.LightningModule):
    """Losses, optimiser and moving average around a model.

    Args:
        model: what is trained.
        optimizer: its settings.
        batch_size: images per optimiser step over all processes; scales the learning rate.
        max_steps: length of the schedule in optimiser steps.
        ema_decay: decay of the moving average of weights and norm statistics, (1 + n) / (10 + n) after n steps where
            that is less; 0 keeps none.
        seed: of any randomness inside the model, which depends on it and the position in the run alone.
    """

    def __init__(
        self,
        model: PanopticBlend,
        optimizer: OptimizerConfig,
        batch_size: int,
        max_steps: int,
        ema_decay: float = 0.0,
        seed: int = 0,
    ):
        super().__init__()
        self.model = model
        self.settings = optimizer
        self.lr = optimizer.lr * batch_size / optimizer.reference_batch_size
        self.factor = lr_factor(optimizer.schedule, max_steps, optimizer.warmup_steps, optimizer.milestones)
        self.seed = seed
        # Part of this module's state, so that it moves between devices and into checkpoints like the model itself.
        self.averaged: AveragedModel | None = None
        if ema_decay > 0:
            self.averaged = AveragedModel(model, multi_avg_fn=_moving_average(ema_decay), use_buffers=True)
            self.averaged.requires_grad_(False)

    @property
    def result(self) -> PanopticBlend:
        """The model to validate and keep: the averaged one when there is one."""
        if self.averaged is None:
            return self.model
        averaged = self.averaged.module
        assert isinstance(averaged, PanopticBlend)
        return averaged

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The losses of one batch and their sum, as `loss`.

        Raises:
            TrainingError: the sum is not finite.
        """
        # Whatever the model draws (stochastic depth, for one) is the same in a resumed run.
        torch.manual_seed(hash((self.seed, self.global_step, batch_idx, self.global_rank)) % 2**63)
        losses = self.model(batch.images, batch.targets)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            terms = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
            raise TrainingError(
                f"the loss is not finite at step {self.global_step + 1} ({terms}) on the images "
                f"{', '.join(batch.file_names)}. Check these images and their "
                "annotations, lower optimizer.lr, lengthen optimizer.warmup_steps or set optimizer.clip_norm."
            )
        return {"loss": total, **{name: value.detach() for name, value in losses.items()}}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimiser over the model's trainable parameters and its per-step schedule."""
        settings = self.settings
        groups = parameter_groups(
            self.model.named_parameters(), self.lr, settings.weight_decay, settings.backbone_lr_factor
        )
        optimizer = make_optimizer(settings.name, groups, settings.momentum)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, self.factor), "interval": "step"},
        }

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, then let the average follow."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the present settings rule over those stored, so that overrides on resuming count."""
        step = checkpoint["global_step"]
        fresh = self.configure_optimizers()["optimizer"]
        for stored, group in zip(checkpoint["optimizer_states"][0]["param_groups"], fresh.param_groups, strict=True):
            own = {name: value for name, value in group.items() if name != "params"}
            stored.update(own, lr=group["initial_lr"] * self.factor(step))
        checkpoint["lr_schedulers"][0]["base_lrs"] = [group["initial_lr"] for group in fresh.param_groups]
        # Lightning steps whenever the passes so far are a multiple of `accumulate`: count them as if all steps had had
        # the present number, or the next step would see too few images.
        passes = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
        missing = step * self.trainer.accumulate_grad_batches - passes["ready"]
        passes.update({name: count + missing for name, count in passes.items()})


def _moving_average(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """An exponential moving average whose memory grows with the run, as TensorFlow's ExponentialMovingAverage does.

    With the full decay from the first step on, 8 % of a run's first weights would be left after 1,250 steps of 0.998.
    """

    def update(averaged: Any, current: Any, count: Tensor | int) -> None:
        seen = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + seen) / (10 + seen)))(averaged, current, count)

    return update
