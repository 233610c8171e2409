"""One training run, from settings to a folder of checkpoints and logs."""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import nn

from panoptic_blend.checkpoints.backbone import load_backbone_weights
from panoptic_blend.checkpoints.initialise import find_weights, initialise
from panoptic_blend.config import Config
from panoptic_blend.config.plain import plain_settings
from panoptic_blend.config_files import read_config, write_config
from panoptic_blend.errors import MALFORMED, TrainingStopped
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.modeling.build import build_model
from panoptic_blend.training.build import build_module, build_trainer
from panoptic_blend.training.callbacks import RunKeeper
from panoptic_blend.training.data_module import CheckTogether, DataModule, load_data
from panoptic_blend.training.failures import failures_told
from panoptic_blend.training.hardware import (
    Accelerator,
    choose_accelerator,
    is_first_process,
    keep_freed_memory,
    repeatable_sums,
    settle_precision,
)
from panoptic_blend.training.loggers import CSV, RunLoggers, make_loggers
from panoptic_blend.training.progress import StepLog
from panoptic_blend.training.resume import (
    ResumePoint,
    changed_settings,
    find_resume_point,
    find_state,
    refuse_existing_run,
)
from panoptic_blend.training.stopping import plain_ctrl_c

CONFIG = "config.yaml"
CURVES = "curves.png"


def train(
    config: Config, resume: Path | None = None, console: Console | None = None, init_from: Path | None = None
) -> Path:
    """Train a model, or resume a run that was stopped.

    Args:
        config: all settings; with `resume`, those of the run with any overrides.
        resume: a run's folder or `.ckpt` file. The run continues in that folder; `trainer.output` is not read.
        console: where progress is shown; standard output when None.
        init_from: weights to start a run from, instead of those `model.backbone.weights` names: any file that
            `checkpoints.initialise` reads.

    Returns:
        The run's folder: config.yaml, best.safetensors (highest PQ), last.safetensors, last.ckpt, curves.png,
        csv/version_N/ (a new N each time the run is resumed) and what the loggers write, such as tensorboard/.

    Raises:
        ConfigError: settings that contradict each other, this machine, or the run to be resumed; a logger that is not
            installed or cannot be opened.
        DatasetError: data that do not hold together.
        CheckpointError: nothing to resume or to start from, or weights that do not fit.
        FolderInUseError: another run writes into the folder at this moment.
        ResourceError: memory or shared memory ran out, or a loader process was killed.
        TrainingError: a loss or weight is no longer finite, or batch norm meets a single value.
        TrainingStopped: Ctrl-C, `kill` or a lost terminal; the state is saved; `resume` continues to the same result.
    """
    first = is_first_process(config.trainer)
    console = console or Console(quiet=not first)
    _quiet_lightning()
    accelerator = choose_accelerator(config.trainer)
    weights = find_weights(init_from) if init_from is not None else None  # before the data, whose check takes time
    run = Path(config.trainer.output) if resume is None else find_state(Path(resume)).parent
    loggers = make_loggers(config.trainer.loggers, run) if first else {}
    with lock_folder(run) if first else nullcontext():
        return _train(config, run, resume, console, accelerator, weights, loggers)


def _train(
    config: Config,
    run: Path,
    resume: Path | None,
    console: Console,
    accelerator: Accelerator,
    weights: Path | None,
    makers: Mapping[str, Callable[[], Logger]],
) -> Path:
    point: ResumePoint | None = None
    if resume is None:
        refuse_existing_run(run)
        config = settle_precision(config, accelerator)
    else:
        point = find_resume_point(Path(resume))
        config = settle_precision(config, accelerator, run / CONFIG)
        _announce_resume(config, point, run / CONFIG, console)
        if point.validated_step == point.step >= config.trainer.max_steps:
            if not (run / CURVES).exists():  # the program was killed just before the end
                _draw_curves(run, console)
            console.print(
                f"Nothing to train: {run} is at step {point.step} of {config.trainer.max_steps}.", markup=False
            )
            return run
        if 0 < config.trainer.patience <= point.without_gain:
            console.print(
                f"Nothing to train: {run} ended early at step {point.step}, after {point.without_gain} validations "
                "without a higher PQ. Raise trainer.patience to go on, or set it to 0 to train to the last step.",
                markup=False, soft_wrap=True,
            )  # fmt: skip
            return run
    if accelerator == "cpu":
        keep_freed_memory()
    torch.manual_seed(config.trainer.seed)
    # A sample that went bad since the run began is still told when it is read.
    check = point is None or config.data.on_bad_sample == "skip"
    begun_with = point.categories if point else None
    settings = config.trainer
    processes = settings.devices * settings.num_nodes
    # Several processes share the check, which they can only do when all of them are there.
    check_now, check_together = check and processes == 1, check and processes > 1
    channels = config.model.input.channels
    training, validation = load_data(config.data, settings.seed, console, check_now, begun_with, channels)
    model = build_model(config.model, training.categories)
    if weights is not None:
        for line in initialise(model, weights).lines():
            console.print(line, highlight=False, markup=False)
    elif point is None:  # else the run's state has its weights
        for line in load_backbone_weights(model):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    module = build_module(config, model, accelerator)
    data = DataModule(
        training,
        validation,
        settings.batch_size // (settings.accumulate * processes),
        point.images_seen if point else 0,
        config.data.workers,
        settings.seed,
        pin_memory=accelerator == "gpu",
        repeat_threshold=config.data.repeat_threshold,
        check=CheckTogether(config.data, console, channels) if check_together else None,
    )
    loggers = RunLoggers(makers, console)
    log = StepLog(settings.max_steps, settings.log_every, console, loggers)
    keeper = RunKeeper(
        run,
        data,
        log,
        settings.max_steps,
        settings.batch_size,
        settings.val_every,
        settings.checkpoint_every,
        {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[settings.precision],
        settings.patience,
    )
    # Only once the state has loaded: settings it does not fit would keep the run from ever going on.
    settings_kept = LambdaCallback(on_train_start=lambda trainer, _: _keep_settings(trainer, config, run / CONFIG))
    trainer = build_trainer(config, accelerator, run, [settings_kept, log, keeper])
    if processes > 1 and accelerator == "cpu" and any(isinstance(m, nn.BatchNorm2d) for m in module.modules()):
        console.print(
            "On CPUs every process normalises by its own batch: batch norm is synchronised on GPUs only.",
            soft_wrap=True,
        )
    try:
        with (
            loggers.running(plain_settings(config)),
            failures_told(config, keeper.kept),
            repeatable_sums(accelerator),
            plain_ctrl_c(),
        ):
            trainer.fit(module, datamodule=data, ckpt_path=point.path if point else None, weights_only=True)
    except TrainingStopped:
        if trainer.is_global_zero:
            raise
        return run  # one process tells; the launcher must not take the others for crashed
    if trainer.is_global_zero:
        _draw_curves(run, console)
    early = (
        f", ended early after {keeper.without_gain} validations without a higher PQ" if keeper.out_of_patience else ""
    )
    console.print(
        f"Trained {keeper.step} steps{early}; best PQ {keeper.best_pq:.2f}. Checkpoints are in {run}",
        soft_wrap=True,
        markup=False,
    )
    return run


def _keep_settings(trainer: pl.Trainer, config: Config, path: Path) -> None:
    if trainer.is_global_zero:
        write_config(config, path)


def _draw_curves(run: Path, console: Console) -> None:
    from panoptic_blend.training.curves import draw_curves, read_figures  # matplotlib takes its time

    try:
        with atomic_path(run / CURVES) as unfinished:
            draw_curves(read_figures(run / CSV)).savefig(unfinished, format="png", dpi=110)
    except (
        OSError,
        csv.Error,
        *MALFORMED,
    ) as error:  # the run is done: a file it wrote that is damaged must not fail it
        console.print(f"{run / CURVES}: cannot be drawn ({error}).", markup=False, soft_wrap=True)


def _announce_resume(config: Config, point: ResumePoint, begun_with: Path, console: Console) -> None:
    console.print(f"Going on from {point.path}, after step {point.step}.", markup=False)
    changes = changed_settings(read_config([begun_with]), config) if begun_with.is_file() else []
    for change in changes:
        console.print(f"  changed {change}", highlight=False, markup=False)
    if any(change.startswith(("trainer.max_steps", "optimizer.")) for change in changes):
        console.print("  The learning-rate schedule is the one of the new settings from here on.")


def _quiet_lightning() -> None:
    """Keep what concerns Lightning's developers, or features not used here, out of the run's output."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
