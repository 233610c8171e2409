"""What happens between two optimiser steps: saving, validating, stopping, and the end."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from PIL import Image

from panoptic_blend.checkpoints.native import BEST, LAST, save_model
from panoptic_blend.coco.images import EvaluationSample
from panoptic_blend.data.dataset import Batch
from panoptic_blend.errors import TrainingError, TrainingStopped
from panoptic_blend.evaluation.pq_result import PQResult
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.structures import PanopticPrediction
from panoptic_blend.training.data_module import DataModule
from panoptic_blend.training.module import TrainingModule
from panoptic_blend.training.progress import StepLog
from panoptic_blend.training.scenes import choose_scenes, draw_scene
from panoptic_blend.training.stopping import StopRequest
from panoptic_blend.training.validation import validate

STATE = "last.ckpt"
STATE_KEY = "Milestones"
"""Of `RunKeeper` in a saved state; never changed, so that runs begun with any version can go on."""


class RunKeeper(pl.Callback):
    """Keeps a run's folder: `last.ckpt` to resume from, `last.safetensors` and `best.safetensors` to use.

    State is saved before and after a validation, so that no stop in between loses anything.

    Args:
        run: the folder.
        data: validation images; also knows how many training images came before.
        step_log: where results and pictures are shown.
        max_steps: optimiser steps after which the run is validated and ends.
        batch_size: images per optimiser step.
        val_every: steps between validations; 0 = only at the end.
        checkpoint_every: steps between saves.
        precision: validation's autocast type.
        patience: validations in a row without a higher PQ after which the run ends early; 0 = never.

    Attributes:
        step: optimiser steps so far.
        without_gain: validations in a row, up to the last one, that brought no higher PQ.
    """

    def __init__(
        self,
        run: Path,
        data: DataModule,
        step_log: StepLog,
        max_steps: int,
        batch_size: int,
        val_every: int,
        checkpoint_every: int,
        precision: torch.dtype,
        patience: int = 0,
    ):
        self.run = run
        self.data = data
        self.step_log = step_log
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.val_every = val_every
        self.checkpoint_every = checkpoint_every
        self.precision = precision
        self.patience = patience
        self.stop = StopRequest()
        self.images_seen = data.start
        self.validated_step = 0
        self.best_pq = -1.0
        self.without_gain = 0
        self.step = 0
        self._saved_step = 0

    @property
    def state_key(self) -> str:
        """Name of this callback's part of a saved state, independent of what the class is called."""
        return STATE_KEY

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs beside Lightning's own state."""
        return {
            "images_seen": self.images_seen,
            "validated_step": self.validated_step,
            "best_pq": self.best_pq,
            "without_gain": self.without_gain,
            "categories": self.data.training.categories.to_json(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where another run of this callback stopped."""
        self.images_seen = state_dict["images_seen"]
        self.validated_step = state_dict["validated_step"]
        self.best_pq = state_dict["best_pq"]
        self.without_gain = state_dict.get("without_gain", 0)  # states of earlier versions do not hold it

    def kept(self) -> str:
        """What of the run is on disk and how to go on with it, to end an error's message with."""
        if not (self.run / STATE).is_file():
            return "Nothing was saved before."
        step = f" after step {self._saved_step}" if self._saved_step else ""
        return f"The state{step} is saved. Go on with: panoptic-blend train --resume {self.run}"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen for signals; make up for a validation that a stop cut short."""
        assert isinstance(pl_module, TrainingModule)
        self.stop.listen()  # only now: Lightning installs handlers of its own earlier
        self.step = self._saved_step = trainer.global_step
        if self.step > 0 and self._validation_due(self.step) and self.validated_step < self.step:
            self._validate(trainer, pl_module)
        trainer.should_stop = self.step >= self.max_steps or self.out_of_patience

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """After an optimiser step: save, validate, stop, each when it is due.

        Raises:
            TrainingStopped: a signal asked to stop; the state is saved.
            TrainingError: the weights are not finite; nothing was saved.
        """
        assert isinstance(pl_module, TrainingModule)
        if trainer.global_step == self.step:
            return  # accumulating
        self.step = trainer.global_step
        self.images_seen += self.batch_size
        stopping = self.stop.agree(pl_module.device)
        due = self._validation_due(self.step)
        if stopping or due or self.step % self.checkpoint_every == 0:
            self._save(trainer, pl_module)
        if stopping:
            raise self._stopped(stopping)
        if due:
            self._validate(trainer, pl_module)
        trainer.should_stop = self.step >= self.max_steps or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """Whether the last validations brought nothing for so long that the run ends early."""
        return self.patience > 0 and self.without_gain >= self.patience

    def _validation_due(self, step: int) -> bool:
        return step >= self.max_steps or (self.val_every > 0 and step % self.val_every == 0)

    def _save(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        broken = [name for name, value in module.model.named_parameters() if not torch.isfinite(value).all()]
        if broken:
            raise TrainingError(
                f"after step {self.step} the weights are not finite ({broken[0]} and {len(broken) - 1} more). "
                "Lower optimizer.lr, lengthen optimizer.warmup_steps or set "
                "optimizer.clip_norm."
            )
        state = self.run / STATE
        # Every process takes part, the first one writes.
        with atomic_path(state) if trainer.is_global_zero else nullcontext(state) as unfinished:
            trainer.save_checkpoint(unfinished, weights_only=False)
        if trainer.is_global_zero:
            save_model(module.result, self.run / LAST)
        self._saved_step = self.step

    def _validate(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        loader = self.data.validation_loader()
        samples = self.step_log.track(loader, len(loader))
        scenes = choose_scenes(len(loader)) if trainer.is_global_zero else ()  # of the first process's share
        pictures: list[Image.Image] = []

        def watch(position: int, sample: EvaluationSample, prediction: PanopticPrediction) -> None:
            if position in scenes:
                pictures.append(draw_scene(sample, prediction, module.model.categories))

        result = validate(module.result, samples, module.device, self.precision, self.stop, watch)
        if result is None:
            raise self._stopped(self.stop.agreed)
        self.validated_step = self.step
        pq = 100 * result.all.pq
        if trainer.is_global_zero:
            self.step_log.loggers.record(self.step, _figures(result))
            self.step_log.loggers.show(self.step, pictures)
            if pq > self.best_pq:
                save_model(module.result, self.run / BEST)
            self.step_log.console.print(
                f"step {self.step}: PQ {pq:.2f}" + (" (best so far)" if pq > self.best_pq else ""), highlight=False
            )
        self.without_gain = 0 if pq > self.best_pq else self.without_gain + 1
        self.best_pq = max(self.best_pq, pq)
        self._save(trainer, module)

    def _stopped(self, number: int) -> TrainingStopped:
        return TrainingStopped(f"stopped after step {self.step} of {self.max_steps}.", number)


def _figures(result: PQResult) -> dict[str, float]:
    groups = {"": result.all, "_th": result.things, "_st": result.stuff}
    return {
        f"{name}{suffix}": 100 * value
        for suffix, group in groups.items()
        for name, value in (("PQ", group.pq), ("SQ", group.sq), ("RQ", group.rq))
    }
