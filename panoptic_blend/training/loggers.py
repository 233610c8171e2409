"""Where a run's figures and pictures go: any of Lightning's loggers, none of which can end the run by failing."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from rich.console import Console

from panoptic_blend.errors import ConfigError

CSV = "csv"
"""Folder of the figures that `curves.png` is drawn from; written whatever other loggers there are."""
PROJECT = "panoptic_blend"
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Loggers known by a short name, and what to install for them."""


class RunLoggers:
    """Writes to several loggers; one that fails during the run is told once and gets nothing more.

    Args:
        loggers: by the names to call them by.
        console: where a failure is told.
    """

    def __init__(self, loggers: Mapping[str, Callable[[], Logger]], console: Console):
        self._makers = dict(loggers)
        self._loggers: dict[str, Logger] = {}
        self._console = console

    @contextmanager
    def running(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Open all loggers for the block, and close them with what became of it.

        Args:
            settings: of the run, for the loggers that show them.

        Raises:
            ConfigError: a logger cannot be opened.
        """
        status = "failed"
        try:
            for name, make in self._makers.items():
                self._open(name, make, settings)
            yield
            status = "success"
        finally:
            self._each(lambda logger: _close(logger, status))

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Write figures at an optimiser step."""

        def write(logger: Logger) -> None:
            logger.log_metrics(dict(values), step)
            logger.save()

        self._each(write)

    def show(self, step: int, pictures: Sequence[Image.Image]) -> None:
        """Hand pictures at an optimiser step to the loggers that take any, as `scene_1`, `scene_2`..."""

        def write(logger: Logger) -> None:
            for number, picture in enumerate(pictures, start=1):
                _show(logger, f"scene_{number}", picture, step)
            logger.save()

        self._each(write)

    def _open(self, name: str, make: Callable[[], Logger], settings: Mapping[str, Any]) -> None:
        # Of other people's code nobody knows what it raises: any error is a reason not to start.
        try:
            logger = make()
            if not isinstance(logger, (CSVLogger, TensorBoardLogger)):
                logger.log_hyperparams(dict(settings))  # opens it, too
        except Exception as error:
            raise ConfigError(
                f"trainer.loggers: {name} cannot be opened ({_reason(error)}). Set it up, or leave it out."
            ) from error
        self._loggers[name] = logger

    def _each(self, use: Callable[[Logger], None]) -> None:
        for name, logger in list(self._loggers.items()):
            # Nor must any of their errors (a full disk, a server that is gone) cost hours of training.
            try:
                use(logger)
            except Exception as error:
                del self._loggers[name]
                self._console.print(
                    f"{name} failed ({_reason(error)}): training goes on without it.",
                    highlight=False, markup=False, soft_wrap=True,
                )  # fmt: skip


def make_loggers(names: Sequence[str], run: Path) -> dict[str, Callable[[], Logger]]:
    """How to make the loggers of a run; none is made yet, but everything they need is imported.

    Args:
        names: 'tensorboard', 'wandb', 'mlflow', or import paths of Lightning loggers.
        run: folder of the run, for what they write on this machine.

    Raises:
        ConfigError: there is no such logger, or it is not installed.
    """
    return {CSV: lambda: CSVLogger(run, name=CSV)} | {name: _maker(name, run) for name in names}


def _maker(name: str, run: Path) -> Callable[[], Logger]:
    if name in PACKAGES:
        _import(PACKAGES[name], f"Install it (pip install {PACKAGES[name]}), or leave {name} out")
    if name == "tensorboard":
        return lambda: TensorBoardLogger(run, name="", version="tensorboard")
    if name == "wandb":
        return lambda: WandbLogger(run.name, run, project=os.environ.get("WANDB_PROJECT", PROJECT))
    if name == "mlflow":
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        server = os.environ.get("MLFLOW_TRACKING_URI")
        if server:
            return lambda: MLFlowLogger(experiment, run.name, server)
        folder = run.resolve()
        database, pictures = f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlflow").as_uri()
        return lambda: MLFlowLogger(experiment, run.name, database, artifact_location=pictures)
    module, _, attribute = name.rpartition(".")
    if not module:
        raise ConfigError(
            f"trainer.loggers: {name!r} is none of {', '.join(PACKAGES)}, and no import path of a Lightning logger "
            "such as lightning.pytorch.loggers.CometLogger."
        )
    kind = getattr(_import(module, "Install what has it, or leave it out"), attribute, None)
    if not (inspect.isclass(kind) and issubclass(kind, Logger)):
        raise ConfigError(
            f"trainer.loggers: {name} is not a Lightning logger. Name a class that derives from "
            "lightning.pytorch.loggers.Logger."
        )
    folder_of: dict[str, Any] = {"save_dir": run} if "save_dir" in inspect.signature(kind).parameters else {}
    return lambda: kind(**folder_of)


def _import(module: str, remedy: str) -> Any:
    try:
        return import_module(module)
    except Exception as error:  # a package that is there but broken raises what it likes
        raise ConfigError(f"trainer.loggers: {module} cannot be imported ({_reason(error)}). {remedy}.") from error


def _show(logger: Logger, name: str, picture: Image.Image, step: int) -> None:
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, np.asarray(picture), step, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_image(logger.run_id, picture, key=name, step=step)
    elif hasattr(logger, "log_image"):  # as Lightning's `WandbLogger` has it
        logger.log_image(key=name, images=[picture], step=step)


def _close(logger: Logger, status: str) -> None:
    logger.finalize(status)
    if isinstance(logger, WandbLogger):  # which leaves its run open for the next logger of this process
        logger.experiment.finish(exit_code=int(status != "success"))


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
