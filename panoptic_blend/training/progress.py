"""What a person and the log files see of a run: losses, learning rate, time left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from torch import Tensor

from panoptic_blend.data.dataset import Batch
from panoptic_blend.training.loggers import RunLoggers

Item = TypeVar("Item")


class StepLog(pl.Callback):
    """Writes the mean losses of every so many steps to the loggers and shows them, as a bar or line by line.

    In a run of several processes the first one writes, and the losses are those of its own images.

    Args:
        max_steps: optimiser steps of the run.
        every: steps between two entries.
        console: where to show; a bar when it is a terminal, else one line per entry.
        loggers: where to write.
    """

    def __init__(self, max_steps: int, every: int, console: Console, loggers: RunLoggers):
        self.max_steps = max_steps
        self.every = every
        self.console = console
        self.loggers = loggers
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[text]}"),
            console=console, auto_refresh=console.is_terminal, disable=not console.is_terminal,
        )  # fmt: skip
        self._steps = self._bar.add_task("train", total=max_steps, text="")
        self._sums: dict[str, Tensor] = {}
        self._passes = 0
        self._lr = 0.0
        self._last = (0, 0.0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and the bar."""
        self._last = (trainer.global_step, time.perf_counter())
        self._bar.update(self._steps, completed=trainer.global_step)
        if trainer.is_global_zero:
            self._bar.start()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Note the rate this step uses: afterwards the schedule has moved on."""
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Add up the losses; every so many steps, write their means."""
        for name, value in outputs.items():
            if name != "loss":
                self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._passes += 1
        step = trainer.global_step
        if step == self._last[0] or not trainer.is_global_zero:
            return
        self._bar.update(self._steps, completed=step)
        if step % self.every == 0 or step == self.max_steps:
            self._write(step)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()

    def track(self, items: Iterable[Item], total: int) -> Iterator[Item]:
        """Pass validation items on and show how many are done; the time does not count as training."""
        task = self._bar.add_task("validate", total=total, text="")
        began = time.perf_counter()
        for item in items:
            yield item
            self._bar.advance(task)
        self._bar.remove_task(task)
        self._last = (self._last[0], self._last[1] + time.perf_counter() - began)

    def _write(self, step: int) -> None:
        losses = {name: value.item() / self._passes for name, value in self._sums.items()}
        seconds = (time.perf_counter() - self._last[1]) / (step - self._last[0])
        self._sums, self._passes, self._last = {}, 0, (step, time.perf_counter())
        total = sum(losses.values())
        self.loggers.record(step, {"loss": total, **losses, "lr": self._lr, "seconds_per_step": seconds})
        terms = " ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in losses.items())
        left = timedelta(seconds=round(seconds * (self.max_steps - step)))
        # What matters most comes first: a narrow terminal cuts the end.
        text = f"{left} left, {seconds:.2f} s/step, lr {self._lr:.2e}, loss {total:.3f} ({terms})"
        self._bar.update(self._steps, text=text)
        if not self.console.is_terminal:
            self.console.print(f"step {step}/{self.max_steps} {text}", soft_wrap=True, highlight=False)
