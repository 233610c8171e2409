"""What the machine can compute, and what a network asks of it."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.benchmarking.timing import Clock

MATRIX = 1024
CONVOLUTION = (256, 100, 152)
"""Channels, height and width: the costliest layer at 800x1216, run eight times."""


def measure_peak(device: torch.device, dtype: torch.dtype, rounds: int) -> dict[str, float]:
    """Best of several runs, in 10^9 operations a second: `matmul`, square, and `conv`, 3x3 of `CONVOLUTION`."""
    clock = Clock(device)
    square = torch.randn(MATRIX, MATRIX, device=device, dtype=dtype)
    channels, height, width = CONVOLUTION
    image = torch.randn(1, channels, height, width, device=device, dtype=dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    weight = weight.contiguous(memory_format=torch.channels_last)
    for _ in range(rounds + 1):
        with clock.measure("matmul"):
            square @ square
        with clock.measure("conv"):
            F.conv2d(image, weight, padding=1)
    operations = {"matmul": 2 * MATRIX**3, "conv": 2 * 9 * channels**2 * height * width}
    return {name: count / min(clock.seconds[name]) / 1e9 for name, count in operations.items()}


def count_operations(network: nn.Module, images: Tensor) -> float:
    """10^9 operations of a network's convolutions and products, every convolution counted as it is defined.

    Nothing is computed: tensors without contents go through a copy of the network.
    """
    # Not above, since it imports triton, and a process that is measured need not have that.
    from torch.utils.flop_counter import FlopCounterMode

    shadow = copy.deepcopy(network).to("meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shadow(images.to("meta"))
    return counter.get_total_flops() / 1e9
