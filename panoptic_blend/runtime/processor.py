"""What kind of processor this is, as far as 8-bit integers are concerned."""

from __future__ import annotations

import platform
import re
from pathlib import Path

_KINDS = {"amx_int8": "AMX", "avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI", "avx512bw": "AVX512", "avx2": "AVX2"}
"""By the flag that Linux gives a processor, the best first. Those without VNNI may saturate when they sum products."""


def processor_kind(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The architecture, and on Linux its widest instructions for 8-bit integers: 'x86_64 AVX512-VNNI' for instance."""
    machine = platform.machine()
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return machine
    there = flags.group(1).split() if flags else []
    return " ".join([machine, *[name for flag, name in _KINDS.items() if flag in there][:1]])
