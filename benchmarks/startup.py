"""Whole commands, from the shell and back: how long a person waits for little, and the memory that takes."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.scoring import bands, write
from benchmarks.turns import take_turns
from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config_files import read_config
from panoptic_blend.exporting.export import export_model
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.modeling.build import build_model

SIZE = (800, 1216)
MEASURE_PEAK = """
import re, sys
from panoptic_blend.cli import main
code = main(sys.argv[1:])
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read()).group(1)) / 1024)
sys.exit(code)
"""
"""Runs a command and says the most memory that its process had, in MiB; Linux alone tells."""


@dataclass(frozen=True)
class Command:
    """Arguments of a command, and the code it must end with."""

    arguments: Sequence[Path | str]
    code: int = 0

    def run(self, *program: str) -> str:
        """Run it in a process of its own, by default as a person does; what it printed."""
        command = [sys.executable, *(program or ("-m", "panoptic_blend")), *map(str, self.arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != self.code:
            sys.exit(done.stderr)
        return done.stdout

    def peak(self) -> float:
        """The most memory it takes, in MiB."""
        return float(self.run("-c", MEASURE_PEAK).split()[-1])


def predictions(checkpoint: Path, picture: Path, *options: str) -> dict[str, Command]:
    """One picture, and the same again, when it is predicted already: everything but the prediction."""
    output = checkpoint.with_name("_".join((checkpoint.stem, "out", *options)))
    words: tuple[Path | str, ...] = ("predict", "--checkpoint", checkpoint, "--input", picture, "--output", output)
    words += options
    return {"a picture": Command((*words, "--overwrite")), "nothing left to predict": Command(words)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels, picture = draw_image(*SIZE), folder / "picture.jpg"
        Image.fromarray(pixels).save(picture)
        model = build_model(read_config(["coco/panoptic_r50_3x.yaml"], ()).model, coco_categories())
        fire_detections(model.eval(), torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), instances=100)
        save_model(model, folder / "model.safetensors")
        export_model(model, folder / "exported", ExportSettings())
        commands = {"--help": Command(("--help",))}
        for count in (1, 60):
            truth, predicted = (
                write(folder / f"{part}{count}", bands, count, shift) for part, shift in (("a", 0), ("b", 4))
            )
            words = ("score", "--ground-truth", truth, "--predictions", predicted)
            commands[f"score, images: {count}"] = Command(words)
        # It has imported torch by then, and read no model.
        missing = ("predict", "--checkpoint", folder / "none", "--input", picture, "--output", folder / "out")
        commands["predict, a model that is missing"] = Command(missing, code=1)
        for title, checkpoint, more in (
            ("predict", folder / "model.safetensors", ()),
            ("predict, fp32", folder / "model.safetensors", ("--precision", "fp32")),
            ("predict, exported", folder / "exported", ()),
        ):
            of_both = predictions(checkpoint, picture, *more)
            commands.update({f"{title}: {what}": command for what, command in of_both.items()})
        seconds = take_turns({title: command.run for title, command in commands.items()}, options.rounds)
        peaks = {title: command.peak() for title, command in commands.items()}
    table = Table("panoptic-blend", "median s", "in single runs", "peak MiB")
    for title, values in seconds.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        table.add_row(title, f"{statistics.median(values):.2f}", spread, f"{peaks[title]:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
