"""Memory at its peak and time of a training step against the number of instances in a picture, a process each."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
import warnings

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.training import autocast_losses, make_step, prepare_training
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.memory import peak_memory
from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.config_files import read_config
from panoptic_blend.data.targets import derive_targets
from panoptic_blend.modeling.build import build_model
from panoptic_blend.structures import IdMap, Targets

CATEGORIES = Categories.from_json(
    [{"id": 1, "name": "cell", "isthing": 1}, {"id": 2, "name": "background", "isthing": 0}]
)
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="shapes/r18.yaml")
    parser.add_argument("--instances", type=int, nargs="+", default=[100, 300, 1296, 3000])
    parser.add_argument("--size", type=int, default=1024, help="side of the picture, in pixels")
    parser.add_argument("--steps", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        train(options)
        return
    table = Table(
        f"instances at {options.size}x{options.size}", "targets, s", "step, s", "of CPU, s", "MiB at the peak"
    )
    for instances in options.instances:
        command = [sys.executable, "-m", "benchmarks.instances", *sys.argv[1:], "--one", str(instances)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        table.add_row(str(instances), *output.split()[-4:])
    Console().print(table)


def train(options: argparse.Namespace) -> None:
    """Derive the targets of one picture and train on it; print seconds and the peak of this process."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = prepare_training(build_model(read_config([options.config], []).model, CATEGORIES), "fp32")
    image = torch.from_numpy(draw_image(options.size, options.size)).permute(2, 0, 1).contiguous()
    ids = draw_cells(options.size, options.one)
    targets: list[Targets] = []
    step = make_step(model, autocast_losses(model, [image], targets, "fp32"))
    deriving, stepping, of_cpu = math.inf, math.inf, math.inf
    for _ in range(options.steps):
        start = time.perf_counter()
        targets[:] = [derive_cells(ids)]
        derived, used = time.perf_counter(), time.process_time()
        step()
        deriving, stepping = min(deriving, derived - start), min(stepping, time.perf_counter() - derived)
        of_cpu = min(of_cpu, time.process_time() - used)
    sys.stdout.write(f"{deriving:.2f} {stepping:.2f} {of_cpu:.2f} {peak_memory(CPU):.0f}\n")


def draw_cells(size: int, instances: int) -> IdMap:
    """Discs in rows and columns, ids 1 to `instances`, on a background with the id after them."""
    columns = math.ceil(math.sqrt(instances))
    y, x = np.mgrid[:size, :size] * columns
    id_map = y // size * columns + x // size + 1
    inside = (y % size - size / 2) ** 2 + (x % size - size / 2) ** 2 < (0.45 * size) ** 2
    return np.where(inside & (id_map <= instances), id_map, instances + 1).astype(np.int32)


def derive_cells(ids: IdMap) -> Targets:
    """Targets of what `draw_cells` drew."""
    last = int(ids.max())
    segments = [SegmentRecord(i, 1 if i < last else 2, False, -1, (0, 0, 1, 1)) for i in range(1, last + 1)]
    return derive_targets(ids, segments, CATEGORIES)


if __name__ == "__main__":
    main()
