"""The most memory a process takes that loads a model and predicts, or trains: this package against AdelaiDet."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.inference import load_pair
from benchmarks.peers import import_peer, load_adelaidet
from benchmarks.training import autocast_losses, make_samples, make_step, prepare_training, reference_sample
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.memory import peak_memory
from panoptic_blend.checkpoints.native import load_model, save_model
from panoptic_blend.inference.predictor import Predictor

CPU = torch.device("cpu")
REFERENCE = "AdelaiDet"
PROCESSES = 3
"""Of every way, as what an allocator keeps is a matter of chance."""
THEIRS, OURS = "reference.pth", "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adelaidet", type=Path, required=True, metavar="DIR", help="a checkout of AdelaiDet")
    parser.add_argument("--train", action="store_true", help="measure training steps, not predictions")
    parser.add_argument("--size", help="by default 800x1216, and 640x800 in training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--ways", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    height, width = map(int, (options.size or ("640x800" if options.train else "800x1216")).split("x"))
    if options.one:
        way, folder = options.one
        if way == REFERENCE:
            import_peer("detectron2.modeling")
        imported = peak_memory(CPU)
        (train if options.train else predict)(way, Path(folder), options.adelaidet, (height, width))
        sys.stdout.write(f"{imported} {peak_memory(CPU)}\n")
        return

    image = torch.from_numpy(draw_image(height, width)).permute(2, 0, 1).contiguous()
    table = Table("MiB", "peak", "in single processes", "of the first", "above imports", "of the first")
    with tempfile.TemporaryDirectory() as folder:
        reference, ours = load_pair(options.adelaidet, image, instances=100)
        torch.save(reference.state_dict(), Path(folder) / THEIRS)
        save_model(ours, Path(folder) / OURS)
        first: tuple[float, float] | None = None
        for way in (REFERENCE, *options.ways):
            peaks, added = zip(*(measure(way, folder) for _ in range(PROCESSES)), strict=True)
            peak, above = statistics.median(peaks), statistics.median(added)
            first = first or (peak, above)
            spread = f"{min(peaks):.0f} to {max(peaks):.0f}"
            shares = f"{peak / first[0]:.2f}", f"{above / first[1]:.2f}"
            table.add_row(way, f"{peak:.0f}", spread, shares[0], f"{above:.0f}", shares[1])
    Console().print(table)


def measure(way: str, folder: str) -> tuple[float, float]:
    """Peak of a new process that runs one way, and how much of that is not for imported packages, in MiB."""
    command = [sys.executable, "-m", "benchmarks.memory", *sys.argv[1:], "--one", way, folder]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    imported, peak = map(float, output.split()[-2:])
    return peak, peak - imported


def predict(way: str, folder: Path, checkout: Path, size: tuple[int, int]) -> None:
    """Load and predict one picture three times."""
    picture = draw_image(*size)
    if way == REFERENCE:
        reference, _ = load_adelaidet(checkout)
        reference.load_state_dict(torch.load(folder / THEIRS))
        image = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1)
        with torch.no_grad():
            for _ in range(3):
                reference([{"image": image, "height": size[0], "width": size[1]}])
    else:
        predictor = Predictor(load_model(folder / OURS), "cpu", way)  # type: ignore[arg-type]
        for _ in range(3):
            predictor(picture)


def train(way: str, folder: Path, checkout: Path, size: tuple[int, int]) -> None:
    """Load and train for three steps of two pictures."""
    images, targets = make_samples(size, batch=2, instances=12)
    if way == REFERENCE:
        reference, _ = load_adelaidet(checkout)
        reference.load_state_dict(torch.load(folder / THEIRS))
        samples = [reference_sample(*pair) for pair in zip(images, targets, strict=True)]
        step = make_step(reference.train(), lambda: reference(samples))
    else:
        model = prepare_training(load_model(folder / OURS), way)
        step = make_step(model, autocast_losses(model, images, targets, way))
    for _ in range(3):
        step()


if __name__ == "__main__":
    main()
