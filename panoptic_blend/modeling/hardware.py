"""What a device can do for a network: multiply bf16, run compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch


def fast_precision(device: torch.device) -> Literal["bf16", "fp32"]:
    """What 'auto' means: bf16 where the device has instructions for its products, else fp32.

    CPUs have them with AVX512-BF16 or AMX, GPUs from Ampere on.
    """
    return "bf16" if _multiplies_bf16(device) else "fp32"


def warn_of_slow_bf16(device: torch.device) -> None:
    """Warn where bf16 was asked for and the processor only imitates it."""
    if device.type == "cpu" and not _multiplies_bf16(device):
        logging.getLogger(__name__).warning(
            "This processor has no instructions for bf16 (AVX512-BF16, AMX): it takes about ten times as long as fp32. "
            "Choose the precision 'fp32' or 'auto'."
        )


def can_compile(device: torch.device) -> bool:
    """Whether torch can compile here, tried on one addition; a warning says why not.

    A network compiles at its first image, when it would be too late to find no C++ compiler.
    """
    try:
        torch.compile(lambda values: values + 1, dynamic=False)(torch.zeros(8, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        reason = str(error).split("\n", 1)[0]
        logging.getLogger(__name__).warning(
            f"torch cannot compile here ({reason}), so the network runs uncompiled. Install a C++ compiler such as g++."
        )
        return False
    return True


def _multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16, rather than converting each to float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    capabilities: Callable[[], Mapping[str, Any]] | None = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is None:  # an older torch does not tell
        return False
    found = capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
