"""One picture through the same weights in every runtime, beside models of Hugging Face, and the memory each takes."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image
from rich.console import Console

from benchmarks.huggingface import EOMT, MASK2FORMER, HuggingFace
from benchmarks.surroundings import open_surroundings
from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.memory import peak_memory
from panoptic_blend.benchmarking.timing import Clock
from panoptic_blend.checkpoints.native import load_model, save_model
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config_files import read_config
from panoptic_blend.data.images import to_tensor
from panoptic_blend.exporting.export import export_model
from panoptic_blend.exporting.settings import ExportSettings, Format
from panoptic_blend.files.images import Pixels, read_rgb
from panoptic_blend.inference.preparation import prepare
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.hardware import fast_precision
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.processor import processor_kind

CPU = torch.device("cpu")
Run = Callable[[Pixels, Clock], int]
"""Predicts a picture, times its stages, and says how many segments there are."""
STAGES = ("input", "network", "rest")
WHOLE = "whole"
PLAIN, UNTILED, OURS, BF16 = "torch as commonly run", "fp32 without tiles", "fp32", "bf16"
EXPORTS: dict[str, dict[str, Any]] = {
    "onnxruntime fp32": {"format": "onnx"},
    "onnxruntime int8": {"format": "onnx", "precision": "int8"},
    "OpenVINO fp32": {"format": "openvino"},
    "OpenVINO int8": {"format": "openvino", "precision": "int8"},
}
WAYS = (OURS, PLAIN, UNTILED, BF16, *EXPORTS, EOMT, MASK2FORMER)
PICTURE, CHECKPOINT = "picture.png", "model.safetensors"
PEAK_OF_EXPORT = """
import sys
from panoptic_blend.benchmarking.memory import peak_memory
from panoptic_blend.files.images import read_rgb
from panoptic_blend.runtime.exported import ExportedModel
model = ExportedModel(sys.argv[1])
for _ in range(3):
    model.predict([read_rgb(sys.argv[2])])
print(f"{peak_memory():.0f}")
"""
"""For a process of its own, since this one has imported torch."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="800x1216", help="of picture and networks; EoMT takes squares alone")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--instances", type=int, default=100, help="that random weights are made to find")
    parser.add_argument("--config", default="coco/panoptic_r50_3x.yaml", help="of a model with random weights")
    parser.add_argument("--checkpoint", type=Path, help="of a trained model, on --image")
    parser.add_argument("--image", type=Path, help="to predict with --checkpoint, scaled to --size")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS, metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--folder", type=Path, help="where models are kept; those that are there are used again")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if (options.checkpoint is None) != (options.image is None):
        parser.error("--checkpoint and --image go together: what a trained model does depends on what there is to see.")
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    height, width = map(int, options.size.split("x"))
    if options.one:
        way, folder = options.one
        run = open_way(way, Path(folder))
        for _ in range(3):
            run(read_rgb(Path(folder) / PICTURE), Clock())
        sys.stdout.write(f"{peak_memory():.0f}\n")
        return

    console = Console(soft_wrap=True, highlight=False)
    ways = [way for way in WAYS if way in options.ways]
    for way, reason in missing(ways, (height, width)).items():
        console.print(f"{way} is left out: {reason}")
        ways.remove(way)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_models(ways, folder, (height, width), options)
        picture = read_rgb(folder / PICTURE)
        runs = {way: open_way(way, folder) for way in ways}
        seconds, segments = take_turns(runs, picture, options.rounds)
        peaks = {way: measure_peak(way, folder, options.threads, options.size) for way in ways}
    for line in table(seconds, segments, peaks):
        console.print(line)
    console.print(f"\n{options.size}, {options.threads} threads, {processor_kind()}")


def missing(ways: Sequence[str], size: tuple[int, int]) -> dict[str, str]:
    """Why some ways cannot be gone here."""
    reasons = {}
    for way in ways:
        if way in (EOMT, MASK2FORMER) and find_spec("transformers") is None:
            reasons[way] = "transformers is not installed. Run `pip install transformers`."
        elif way == EOMT and size[0] != size[1]:
            reasons[way] = "it takes square pictures alone. Give --size 640x640."
        elif way == BF16 and fast_precision(CPU) != "bf16":
            reasons[way] = "this processor has no instructions for bf16."
        elif way in EXPORTS and EXPORTS[way]["format"] not in get_args(Format):
            reasons[way] = "there is no such export."
        elif way.startswith("OpenVINO") and find_spec("openvino") is None:
            reasons[way] = "openvino is not installed. Run `pip install 'panoptic-blend[openvino]'`."
    return reasons


def write_models(ways: Sequence[str], folder: Path, size: tuple[int, int], options: argparse.Namespace) -> None:
    """The picture, and the model in every form that is not there yet. int8 is calibrated on the picture alone."""
    if (folder / CHECKPOINT).exists():
        model = load_model(folder / CHECKPOINT)
    else:
        torch.manual_seed(0)
        if options.checkpoint:
            picture = Image.fromarray(read_rgb(options.image)).resize(size[::-1])
            model = load_model(options.checkpoint)
        else:
            picture = Image.fromarray(draw_image(*size))
            model = build_model(read_config([options.config], ()).model, coco_categories()).eval()
        picture.save(folder / PICTURE)
        model.settings.shortest_edge, model.settings.longest_edge = min(size), max(size)
        if not options.checkpoint:
            fire_detections(model, to_tensor(read_rgb(folder / PICTURE)), options.instances)
        save_model(model, folder / CHECKPOINT)
    for way in ways:
        if way in EXPORTS and not (folder / way).exists():
            calibration = [folder / PICTURE] if "precision" in EXPORTS[way] else []
            export_model(model, folder / way, ExportSettings(**EXPORTS[way], calibration=calibration, fewest_equal=0.0))


def open_way(way: str, folder: Path) -> Run:
    """A model in one of its forms, ready to predict."""
    if way in (EOMT, MASK2FORMER):
        return HuggingFace(way, read_rgb(folder / PICTURE).shape[:2]).run
    if way in EXPORTS:
        return run_export(folder / way, read_rgb(folder / PICTURE))
    model = load_model(folder / CHECKPOINT).eval()
    if way == PLAIN:
        return run_torch(model)
    return run_torch(prepare(model, CPU, "bf16" if way == BF16 else "fp32", tiles=way != UNTILED))


def run_torch(model: PanopticBlend) -> Run:
    """A model of torch, stage by stage, as `predict` goes through them."""

    @torch.no_grad()
    def run(picture: Pixels, clock: Clock) -> int:
        with clock.measure("input"):
            image = model.resize(to_tensor(picture))
            pixels = model.input_rule([image])
        with clock.measure("network"):
            output = model.network(pixels)
        with clock.measure("rest"):
            found = model.postprocess(output, [(image.shape[1], image.shape[2])], [picture.shape[:2]])
        return len(found[0].segments)

    return run


def run_export(folder: Path, picture: Pixels) -> Run:
    """An exported folder, whose runtime does not stop between stages: those around the network are run once more."""
    threads, graph = torch.get_num_threads(), folder / "model.onnx"
    model = ExportedModel(folder, threads)
    around = open_surroundings(graph, picture, threads) if graph.exists() else {}

    def run(picture: Pixels, clock: Clock) -> int:
        with clock.measure(WHOLE):
            segments = model.predict([picture])[0].segments
        for stage, run_again in around.items():
            with clock.measure(stage):
                run_again()
        return len(segments)

    return run


def take_turns(
    ways: Mapping[str, Run], picture: Pixels, rounds: int
) -> tuple[dict[str, dict[str, list[float]]], dict[str, int]]:
    """Seconds of every way's stages, and its segments, after a round that does not count."""
    segments = {way: run(picture, Clock()) for way, run in ways.items()}
    clocks = {way: Clock() for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            run(picture, clocks[way])
    for clock in clocks.values():
        if WHOLE not in clock.seconds:
            clock.seconds[WHOLE] = [sum(parts) for parts in zip(*clock.seconds.values(), strict=True)]
        elif len(clock.seconds) > 1:
            parts = zip(*(clock.seconds[stage] for stage in (WHOLE, "input", "rest")), strict=True)
            clock.seconds["network"] = [whole - before - after for whole, before, after in parts]
    return {way: clock.seconds for way, clock in clocks.items()}, segments


def measure_peak(way: str, folder: Path, threads: int, size: str) -> int:
    """MiB that a process takes at most which opens one model and predicts three times."""
    options = ["--threads", str(threads), "--size", size, "--one", way, str(folder)]
    program = ["-m", "benchmarks.runtimes", *options]
    if way in EXPORTS:
        program = ["-c", PEAK_OF_EXPORT, str(folder / way), str(folder / PICTURE)]
    command = [sys.executable, *program]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def table(
    seconds: Mapping[str, Mapping[str, Sequence[float]]], segments: Mapping[str, int], peaks: Mapping[str, int]
) -> list[str]:
    """Lines of Markdown: medians in milliseconds, and how many times as fast as `OURS` each is."""
    lines = [
        "| | whole, ms | times as fast as ours in fp32 | input | network | what follows | segments | MiB at the peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ours = seconds.get(OURS, {}).get(WHOLE, [])
    for way, of_stages in seconds.items():
        whole = of_stages[WHOLE]
        ratio = "-"
        if ours:
            single = [base / value for base, value in zip(ours, whole, strict=True)]
            middle = statistics.median(ours) / statistics.median(whole)
            ratio = f"{middle:.2f} ({min(single):.2f} to {max(single):.2f})"
        parts = [f"{1000 * statistics.median(of_stages[s]):.0f}" if s in of_stages else "-" for s in STAGES]
        cells = [way, f"{1000 * statistics.median(whole):.0f}", ratio, *parts, str(segments[way]), str(peaks[way])]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
