"""Whole commands, from the shell and back: how long a person waits for little."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.scoring import write
from benchmarks.turns import take_turns
from panoptic_blend.benchmarking.benchmark import draw_image
from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config_files import read_config
from panoptic_blend.modeling.build import build_model

SIZE = (800, 1216)


def run(*arguments: Path | str, code: int = 0) -> None:
    """One command in a process of its own, which must end with `code`."""
    command = [sys.executable, "-m", "panoptic_blend", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(done.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = draw_image(*SIZE)
        Image.fromarray(picture).save(folder / "picture.jpg")
        model = build_model(read_config(["coco/panoptic_r50_3x.yaml"], ()).model, coco_categories())
        fire_detections(model.eval(), torch.from_numpy(picture).permute(2, 0, 1).contiguous(), instances=100)
        save_model(model, folder / "model.safetensors")
        predict = ("predict", "--checkpoint", folder / "model.safetensors", "--output", folder / "out", "--input")
        one, sixty = (
            ("score", "--ground-truth", write(folder / f"a{n}", n, 0), "--predictions", write(folder / f"b{n}", n, 4))
            for n in (1, 60)
        )
        seconds = take_turns(
            {
                "--help": lambda: run("--help"),
                "score, one image": lambda: run(*one),
                "score, 60 images": lambda: run(*sixty),
                # It has imported everything by then, and read no model.
                "predict, a picture that is missing": lambda: run(*predict, folder / "missing.jpg", code=1),
                "predict, a picture, fp32": lambda: run(*predict, folder / "picture.jpg", "--precision", "fp32"),
                "predict, a picture": lambda: run(*predict, folder / "picture.jpg"),
            },
            options.rounds,
        )
    table = Table("panoptic-blend", "median s", "in single runs")
    for way, values in seconds.items():
        table.add_row(way, f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
