"""The processor and the memory, told without torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

_FEATURES = {
    "AVX2": ("avx2",),
    "AVX512": ("avx512f",),
    "AVX512-VNNI": ("avx512_vnni",),
    "AVX512-BF16": ("avx512_bf16",),
    "AMX-BF16": ("amx_bf16",),
    "AMX-INT8": ("amx_int8",),
    "NEON": ("neon", "asimd"),
    "bf16 of ARM": ("bf16",),
}
"""Instructions that make a difference to networks, by Linux's names for them."""


def describe_machine(system: Path = Path("/")) -> list[str]:
    """Lines about processor, memory and the disk of temporary files.

    Args:
        system: root of Linux's own files; other systems have none of them, and tell less.
    """
    info = _read(system / "proc" / "cpuinfo")
    name = _field(info, "model name") or platform.processor() or platform.machine()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [f"processor: {name}, {os.cpu_count()} cores, {usable} of them for this process"]
    if features := find_features(info):
        there = [feature for feature, has in features.items() if has]
        lines.append(f"instructions: {', '.join(there) or 'none of those that matter to networks'}")
    if memory := describe_memory(system):
        lines.append(memory)
    for folder, what in ((system / "dev" / "shm", "shared memory, for loader processes"), (Path.cwd(), "this disk")):
        if folder.is_dir():
            usage = shutil.disk_usage(folder)
            lines.append(f"{what}: {_gib(usage.free)} free of {_gib(usage.total)}")
    return lines


def find_features(cpuinfo: str) -> Mapping[str, bool]:
    """Which of the instructions a processor of this architecture may have are there; nothing where Linux tells none."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    if flags is None:
        return {}
    there = flags[1].split()
    return {feature: any(flag in there for flag in names) for feature, names in _FEATURES.items()}


def describe_memory(system: Path = Path("/")) -> str:
    """Total and free memory, and what a container may take of it; "" where Linux does not tell."""
    info = _read(system / "proc" / "meminfo")
    total, free = (_field(info, name).split() for name in ("MemTotal", "MemAvailable"))
    if not total or not free:
        return ""
    text = f"memory: {_gib(int(free[0]) * 1024)} free of {_gib(int(total[0]) * 1024)}"
    limit = _read(system / "sys" / "fs" / "cgroup" / "memory.max").strip()
    return f"{text}; this container may take {_gib(int(limit))}" if limit.isdecimal() else text


def _field(info: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", info, re.MULTILINE)
    return found[1].strip() if found else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
