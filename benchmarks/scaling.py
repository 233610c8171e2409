"""What a prediction costs against the size of the picture, its instances, the categories and the batch: a plot."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from panoptic_blend.benchmarking.benchmark import Settings, measure
from panoptic_blend.benchmarking.stages import NETWORK, PREDICT

SIZES = ((320, 480), (480, 640), (640, 960), (800, 1216))
INSTANCES = (1, 10, 50, 100)
CLASSES = (20, 133, 400)
BATCHES = (1, 2, 4)
AFTER = ("decode", "masks", "semantic", "merge")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="coco/panoptic_r50_3x.yaml")
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True, help="gets scaling.json and scaling.png")
    options = parser.parse_args()
    small = (480, 640)
    base = Settings(
        options.config, (), small, precision=options.precision, threads=options.threads, rounds=options.rounds
    )
    figures: dict[str, list[tuple[float, dict[str, Any]]]] = {
        "instances": [(count, measure(replace(base, instances=count))) for count in INSTANCES],
        "megapixels": [(size[0] * size[1] / 1e6, measure(replace(base, size=size))) for size in SIZES],
        "categories": [(count, measure(replace(base, classes=count))) for count in CLASSES],
        "pictures at a time": [(batch, measure(replace(base, batch=batch))) for batch in BATCHES],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "scaling.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw(figures).savefig(options.output / "scaling.png", dpi=110)
    for what, points in figures.items():
        for value, measured in points:
            times = {name: round(timing["median"], 1) for name, timing in measured["milliseconds"].items()}
            Console(soft_wrap=True).print(what, value, measured["detections"], times, highlight=False)


def draw(figures: dict[str, list[tuple[float, dict[str, Any]]]]) -> Figure:
    """One panel for each thing that grows."""
    figure = Figure(figsize=(3.4 * len(figures), 3.2), layout="constrained")
    panels = figure.subplots(1, len(figures))
    for panel, (what, points) in zip(panels, figures.items(), strict=True):
        x = [value for value, _ in points]
        times = [measured["milliseconds"] for _, measured in points]
        rest = [sum(each[name]["median"] for name in AFTER) for each in times]
        panel.plot(x, [each[PREDICT]["median"] for each in times], "o-", label="whole prediction")
        panel.plot(x, [each[NETWORK]["median"] for each in times], "s--", label="network")
        panel.plot(x, rest, "^:", label="after the network")
        panel.set(xlabel=what, ylabel="milliseconds", ylim=(0, None))
        panel.grid(alpha=0.3)
    panels[0].legend()
    return figure


if __name__ == "__main__":
    main()
