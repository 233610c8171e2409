"""What kind of processor this is, as far as 8-bit integers are concerned, and what is fastest on it."""

from __future__ import annotations

import platform
import re
from pathlib import Path

_KINDS = {"amx_int8": "AMX", "avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI", "avx512bw": "AVX512", "avx2": "AVX2"}
"""By the flag that Linux gives a processor, the best first. Those without VNNI may saturate when they sum products."""

_FASTEST = {
    "x86_64 AMX": "the checkpoint with --precision bf16, 2.9 times as fast as in fp32; exported in int8, 2.0 times",
    "x86_64 AVX512-VNNI": (
        "exported with --format onnx --precision int8, 2.4 to 4.4 times as fast as the checkpoint in fp32; the "
        "checkpoint with --precision bf16, where the processor multiplies it, 2.1 to 2.8 times"
    ),
    "x86_64 AVX2": "exported with --format onnx --precision int8, 1.67 times as fast as the checkpoint in fp32",
}
"""By kind, as measured by `benchmarks/runtimes.py`: docs/speed.md has the tables."""


def processor_kind(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The architecture, and on Linux its widest instructions for 8-bit integers: 'x86_64 AVX512-VNNI' for instance."""
    machine = platform.machine()
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return machine
    there = flags.group(1).split() if flags else []
    return " ".join([machine, *[name for flag, name in _KINDS.items() if flag in there][:1]])


def describe_fastest(kind: str) -> str:
    """A sentence about what predicts fastest on the CPU, a checkpoint or an export of it.

    Args:
        kind: as `processor_kind` gives it.
    """
    if kind not in _FASTEST:
        return f"fastest on {kind}: not measured; `panoptic-blend benchmark --checkpoint` times checkpoints and exports"
    return f"fastest on {kind}, as measured: {_FASTEST[kind]}"
