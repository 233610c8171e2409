"""The most memory that was taken: a process's, or a GPU's. The first is told without torch."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LINUX_PEAK = Path("/proc/self/clear_refs")


def forget_peak_memory(device: torch.device | None = None) -> None:
    """Let `peak_memory` count from now on; where the system has no way to, it counts from the process's start."""
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    elif _LINUX_PEAK.exists():
        _LINUX_PEAK.write_text("5")


def peak_memory(device: torch.device | None = None) -> float:
    """MiB: the most this process has had in memory, or on a GPU the most its tensors had."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return int(found.group(1)) / 2**10
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
