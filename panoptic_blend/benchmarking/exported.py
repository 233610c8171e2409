"""How long an exported model takes on this machine for an image from disk to disk, without torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from rich.console import Console

from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.memory import forget_peak_memory, peak_memory
from panoptic_blend.benchmarking.timing import Clock, Timing, stage_table
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.images import read_rgb
from panoptic_blend.inference.predictor import Predictor

LOAD, PREDICT, ENCODE = "load", "predict", "encode"


def run_benchmark_of_export(
    predictor: Predictor, size: tuple[int, int], rounds: int, output: Path | None, console: Console
) -> dict[str, Any]:
    """Measure, print a table and write `output`, a JSON file of what is returned.

    Args:
        predictor: of an exported model.
        size: (height, width) of the image.
        rounds: measurements of every stage, after one that does not count.
    """
    clock = Clock()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "image.jpg"
        Image.fromarray(draw_image(*size)).save(file, quality=92)
        forget_peak_memory()
        for turn in range(rounds + 1):
            if turn == 1:
                clock = Clock()
            with clock.measure(LOAD):
                image = read_rgb(file)
            with clock.measure(PREDICT):
                prediction = predictor(image)
            with clock.measure(ENCODE):
                write_id_map(Path(folder) / "ids.png", prediction.id_map)
    timings = {name: Timing.of(seconds) for name, seconds in clock.seconds.items()}
    measured: dict[str, Any] = {
        **predictor.engine.made_with(),
        "size": list(size),
        "segments": len(prediction.segments),
        "milliseconds": {name: asdict(timing) for name, timing in timings.items()},
        "images_per_second": 1000 / timings[PREDICT].median,
        "peak_memory": peak_memory(),
    }
    if output is not None:
        with atomic_path(output) as unfinished:
            unfinished.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    console.print(stage_table(measured["milliseconds"], whole=PREDICT))
    console.print(
        f"{measured['images_per_second']:.3g} images/s, {measured['segments']} segments each, {measured['precision']} "
        f"in {measured['runtime']} on {measured['device']}; peak memory {measured['peak_memory']:.0f} MiB.",
        highlight=False,
    )
    return measured
