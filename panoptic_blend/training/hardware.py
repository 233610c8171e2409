"""What a run computes on: CPU or GPU, in which precision, in which of several processes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from panoptic_blend.config import Config, TrainerConfig
from panoptic_blend.config_files import read_config
from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.hardware import fast_precision, warn_of_slow_bf16

Accelerator = Literal["cpu", "gpu"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names and numbers of glibc's malloc.h."""


def choose_accelerator(settings: TrainerConfig) -> Accelerator:
    """'gpu' or 'cpu', once it is sure that this machine has what the settings ask for.

    Raises:
        ConfigError: no GPU or too few, fp16 without a GPU, or a launcher that started another number of processes.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    accelerator: Accelerator = (
        "cpu" if settings.accelerator == "cpu" or (settings.accelerator == "auto" and not gpus) else "gpu"
    )
    if accelerator == "gpu" and not gpus:
        raise ConfigError(
            f"trainer.accelerator is 'gpu', but torch {torch.__version__} finds no GPU. Use 'auto' or 'cpu', or check "
            "that nvidia-smi lists a GPU and that this torch is built for it."
        )
    if accelerator == "gpu" and settings.devices > gpus:
        raise ConfigError(f"trainer.devices is {settings.devices}, but this machine shows {gpus} GPUs. Lower it.")
    if accelerator == "cpu" and settings.precision == "fp16":
        raise ConfigError("trainer.precision fp16 needs a GPU; use bf16 or fp32 on the CPU.")
    launched = os.environ.get("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else None
    if launched is not None and int(launched) != settings.devices * settings.num_nodes:
        raise ConfigError(
            f"torchrun started {launched} processes, but trainer.devices x trainer.num_nodes is {settings.devices} x "
            f"{settings.num_nodes}. Set them to torchrun's --nproc-per-node and --nnodes."
        )
    return accelerator


def settle_precision(config: Config, accelerator: Accelerator, begun_with: Path | None = None) -> Config:
    """Replace the precision 'auto' by what it means here; warn where bf16 is asked for and only imitated.

    Args:
        config: stays as it is.
        accelerator: what the run trains on.
        begun_with: settings file of the run that is resumed, whose precision 'auto' keeps: another machine's choice
            would lead to other weights.
    """
    device = torch.device("cuda" if accelerator == "gpu" else "cpu")
    precision = config.trainer.precision
    if precision == "auto" and begun_with is not None and begun_with.is_file():
        precision = read_config(begun_with).trainer.precision
    if precision == "auto":
        precision = fast_precision(device)
    if precision == "bf16":
        warn_of_slow_bf16(device)
    return replace(config, trainer=replace(config.trainer, precision=precision))


def is_first_process(settings: TrainerConfig) -> bool:
    """Whether this process speaks for a run, by the numbers that its launcher (torchrun, Lightning, SLURM) gave it.

    A run of one process speaks for itself, even if a launcher started several such runs.
    """
    # Torchrun numbers its processes itself, on machines that SLURM may number in another order.
    launched = "TORCHELASTIC_RUN_ID" in os.environ
    numbers = ("RANK",) if launched else ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    alone = settings.devices * settings.num_nodes == 1
    return alone or all(int(os.environ.get(number, "0")) == 0 for number in numbers)


def keep_freed_memory() -> None:
    """Let this process keep the memory of tensors that are gone for those of its next step.

    Otherwise glibc returns every large tensor's memory, and the system hands it out again page by page, filled with
    zeros, which takes a seventh of a small model's step. The process stays at its peak, which each step reaches anyway.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def repeatable_sums(accelerator: Accelerator) -> Iterator[None]:
    """On CPUs, let threads add up in a fixed order, without which no run repeats another bit for bit.

    It costs nothing measurable there; on GPUs it would, and some operations have no such form.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    if accelerator == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # nothing here reads memory it did not write
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
