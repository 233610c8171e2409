"""How long a prediction takes on this machine, stage by stage, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from rich.console import Console

from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.memory import forget_peak_memory, peak_memory
from panoptic_blend.benchmarking.peak import count_operations, measure_peak
from panoptic_blend.benchmarking.stages import NETWORK, PREDICT, STAGES, time_stages
from panoptic_blend.benchmarking.timing import Timing, stage_table
from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints.names import load_checkpoint
from panoptic_blend.config_files import change_settings, read_config
from panoptic_blend.data.images import read_image
from panoptic_blend.errors import ConfigError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.pictures import RGB
from panoptic_blend.inference.preparation import Precision, choose_dtype, prepare
from panoptic_blend.inference.torch_model import find_device
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        source: a model with its weights (a path), or the name of a configuration that gets random ones.
        overrides: of the configuration, or of a model's `PredictionSettings`, as on the command line.
        size: (height, width) of the image, which a model with its weights resizes as in prediction.
        batch: images at a time.
        instances: detections made to fire by random weights; the most that trained ones may have.
        classes: categories of random weights; three in five are things, as of COCO's 133.
        device: as the predictor's.
        precision: as the predictor's.
        compile: as the predictor's.
        tiles: as the predictor's.
        threads: of the CPU; None leaves torch's choice.
        rounds: measurements of every stage.
    """

    source: Path | str
    overrides: Sequence[str] = ()
    size: tuple[int, int] = (800, 1216)
    batch: int = 1
    instances: int = 100
    classes: int = 133
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False
    tiles: bool = True
    threads: int | None = None
    rounds: int = 10


def run_benchmark(settings: Settings, output: Path | None, console: Console) -> dict[str, Any]:
    """Measure, print a table and write `output`, a JSON file of what is returned.

    Raises:
        ConfigError: a configuration that cannot be read, or a device that does not exist.
        CheckpointError: a model that cannot be read.
    """
    measured = measure(settings)
    if output is not None:
        with atomic_path(output) as unfinished:
            unfinished.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    _print(measured, console)
    return measured


def measure(settings: Settings) -> dict[str, Any]:
    """All figures: times in milliseconds, memory in MiB, 10^9 operations a second."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = find_device(settings.device)
    dtype = choose_dtype(device, settings.precision)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "image.jpg"
        Image.fromarray(draw_image(*settings.size)).save(file, quality=92)
        model = _make_model(settings, file)
        if model.channels != RGB:
            raise ConfigError(f"This model reads {model.channels} bands; the image that is predicted here has RGB.")
        operations = count_operations(model.network, model.input_rule([model.resize(read_image(file))]))
        prepared = prepare(model, device, settings.precision, settings.compile, settings.tiles)
        del model
        forget_peak_memory(device)
        clock, detections = time_stages(prepared, file, settings.batch, settings.rounds, Path(folder) / "ids.png")
        memory = peak_memory(device)
    timings = {name: Timing.of(clock.seconds[name]) for name in (*STAGES, NETWORK, PREDICT) if name in clock.seconds}
    peak = measure_peak(device, dtype, settings.rounds)
    achieved = operations * settings.batch / (timings[NETWORK].median / 1000)
    return {
        "settings": {**asdict(settings), "source": str(settings.source)},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "dtype": str(dtype).removeprefix("torch."),
        "detections": detections,
        "milliseconds": {name: asdict(timing) for name, timing in timings.items()},
        "images_per_second": settings.batch / (timings[PREDICT].median / 1000),
        "peak_memory": memory,
        "network_operations": operations,
        "achieved": achieved,
        "peak": peak,
        "share_of_peak": achieved / max(peak.values()),
    }


def _make_model(settings: Settings, file: Path) -> PanopticBlend:
    if isinstance(settings.source, Path):
        model = load_checkpoint(settings.source)
        change_settings(model.settings, settings.overrides)
        return model
    torch.manual_seed(0)
    config = read_config([settings.source], settings.overrides)
    model = build_model(config.model, _make_categories(settings.classes)).eval()
    if not any(word.startswith("--model.input.") for word in settings.overrides):
        # Random weights have no size of their own: the network sees the image as large as it is.
        model.settings.shortest_edge, model.settings.longest_edge = min(settings.size), max(settings.size)
    fire_detections(model, model.resize(read_image(file)), settings.instances)
    return model


def _make_categories(count: int) -> Categories:
    things = round(0.6 * count)
    return Categories([Category(i, f"category {i}", i <= things, (0, 0, 0)) for i in range(1, count + 1)])


def _print(measured: dict[str, Any], console: Console) -> None:
    console.print(stage_table(measured["milliseconds"], whole=PREDICT, section=NETWORK))
    console.print(
        f"{measured['images_per_second']:.3g} images/s, {measured['detections']} detections each, "
        f"{measured['dtype']} on {measured['device']} with {measured['threads']} CPU threads; "
        f"peak memory {measured['peak_memory']:.0f} MiB.\n"
        f"The network is {measured['network_operations']:.3g} GFLOP as defined: {measured['achieved']:.0f} GFLOP/s, "
        f"{measured['share_of_peak']:.0%} of this machine's best (matmul {measured['peak']['matmul']:.0f}, convolution "
        f"{measured['peak']['conv']:.0f}); more than 100% is possible where convolutions are computed by tiles.",
        highlight=False,
    )
