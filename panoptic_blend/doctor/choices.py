"""What 'auto' takes on this machine, and how fast that is."""

from __future__ import annotations

import shutil
import time

import torch
from PIL import Image

from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.peak import measure_peak
from panoptic_blend.categories import Categories, Category
from panoptic_blend.config_files import read_config
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.torch_model import find_device
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.hardware import fast_precision

CONFIG = "shapes/r18.yaml"
SIDE = 320
"""Pixels of the picture that is predicted."""


def describe_choices() -> list[str]:
    """Lines about GPUs, and about device and precision that 'auto' takes, and why."""
    device = find_device("auto")
    lines = [f"torch computes in {torch.get_num_threads()} threads, with {torch.backends.cpu.get_cpu_capability()}"]
    if device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            memory, capability = gpu.total_memory / 2**30, f"{gpu.major}.{gpu.minor}"
            lines.append(f"GPU {index}: {gpu.name}, {memory:.1f} GiB, compute capability {capability}")
        lines.append(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    else:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        lines.append(f"GPU: none that torch sees; this torch is {built}")
    precision = fast_precision(device)
    why = {
        ("cuda", "bf16"): "the GPU multiplies bf16",
        ("cuda", "fp32"): "the GPU is older than Ampere, and only imitates bf16",
        ("cpu", "bf16"): "the processor multiplies bf16 (AVX512-BF16 or AMX)",
        ("cpu", "fp32"): "the processor only imitates bf16, at a tenth of the speed",
    }[device.type, precision]
    lines.append(f"'auto' takes the {device.type} and {precision}, in training and `predict`: {why}")
    lines.append("`evaluate` takes fp32 unless told otherwise, for numbers that are the same everywhere")
    compiler = next((name for name in ("g++", "clang++", "cl") if shutil.which(name)), None)
    lines.append(f"--compile: {f'{compiler} is there' if compiler else 'no C++ compiler is there, which it needs'}")
    return lines


def check_speed(seconds: float = 5.0) -> list[str]:
    """Lines about a prediction by a model with random weights, and about plain products, for about so many seconds."""
    device = find_device("auto")
    torch.manual_seed(0)
    categories = Categories([Category(1, "a thing", True, (0, 0, 0)), Category(2, "stuff", False, (0, 0, 0))])
    predictor = Predictor(build_model(read_config(CONFIG).model, categories).eval(), str(device))
    image = Image.fromarray(draw_image(SIDE, SIDE))
    times: list[float] = []
    end = time.perf_counter() + seconds / 2
    while not times or (time.perf_counter() < end and len(times) < 50):
        start = time.perf_counter()
        predictor(image)
        times.append(time.perf_counter() - start)
    lines = [
        f"predicting {SIDE}x{SIDE} pixels with {CONFIG} and random weights: {1000 * min(times):.0f} ms at best, "
        f"{1000 * times[0]:.0f} ms the first time ({len(times)} times)"
    ]
    best: dict[str, float] = {}
    end = time.perf_counter() + seconds / 2
    while not best or time.perf_counter() < end:
        for name, value in measure_peak(device, torch.float32, rounds=1).items():
            best[name] = max(value, best.get(name, 0.0))
    told = ", ".join(f"{name} {value:,.0f}" for name, value in best.items())
    return [*lines, f"10^9 operations a second in fp32: {told}"]
