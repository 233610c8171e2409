"""The models of configs/modern: their size, and their time beside AdelaiDet's layout and models of Hugging Face."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.huggingface import EOMT, EOMT_B, EOMT_T, MASK2FORMER, HuggingFace
from benchmarks.runtimes import CPU, WHOLE, Run, run_export, run_torch, take_turns
from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config_files import read_config
from panoptic_blend.data.images import to_tensor
from panoptic_blend.exporting.export import ExportSettings, export_model
from panoptic_blend.files.images import Pixels, read_rgb
from panoptic_blend.inference.preparation import prepare
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.hardware import fast_precision
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.processor import processor_kind

OURS = ("modern/nano", "modern/tiny", "modern/small", "modern/base", "coco/panoptic_r50_3x")
THEIRS = (EOMT_T, EOMT, EOMT_B, MASK2FORMER)
PRECISIONS = ("fp32", "bf16", "int8")
SIZE = 640
INSTANCES = 50
"""That random weights are made to find."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=[*OURS, *THEIRS], choices=[*OURS, *THEIRS], metavar="MODEL")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    console = Console(soft_wrap=True, highlight=False)
    picture = draw_image(SIZE, SIZE)
    sizes: dict[str, str] = {}
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        Image.fromarray(picture).save(folder / "picture.png")
        for name in options.models:
            if name in THEIRS and find_spec("transformers") is None:
                console.print(f"{name} is left out: transformers is not installed. Run `pip install transformers`.")
                continue
            console.print(f"{name} ...")
            network, ways = _open(name, picture, options.precisions, folder)
            sizes[name] = _size(network)
            runs |= {f"{name} {precision}": run for precision, run in ways.items()}
        seconds, _ = take_turns(runs, picture, options.rounds)
    for line in _table(sizes, seconds, options.precisions):
        console.print(line)
    console.print(f"\n{SIZE}x{SIZE}, {options.threads} threads, {processor_kind()}, medians of {options.rounds}")


def _table(
    sizes: Mapping[str, str], seconds: Mapping[str, Mapping[str, Sequence[float]]], precisions: Sequence[str]
) -> list[str]:
    """Lines of Markdown: the network alone in every precision, then the whole prediction."""
    heads = [f"{stage}, {precision}" for stage in ("network", WHOLE) for precision in precisions]
    lines = [f"| ms | parameters, M | GFLOP | {' | '.join(heads)} |", "|---" * (3 + len(heads)) + "|"]
    for name, size in sizes.items():
        cells = []
        for stage in ("network", WHOLE):
            for precision in precisions:
                found = seconds.get(f"{name} {precision}", {}).get(stage)
                cells.append(f"{1000 * statistics.median(found):.0f}" if found else "-")
        lines.append(f"| {name} | {size} | {' | '.join(cells)} |")
    return lines


def _open(name: str, picture: Pixels, precisions: Sequence[str], folder: Path) -> tuple[nn.Module, dict[str, Run]]:
    """A model with random weights, and how to predict a picture with it in every precision that there is here."""
    if name in THEIRS:
        theirs = HuggingFace(name, picture.shape[:2])
        return theirs.model, {"fp32": theirs.run} if "fp32" in precisions else {}
    config = read_config([f"{name}.yaml"], ["--model.backbone.weights", "none"]).model
    config.input.shortest_edge = config.input.longest_edge = SIZE
    model = build_model(config, coco_categories()).eval()
    fire_detections(model, to_tensor(picture), INSTANCES)
    ways: dict[str, Run] = {}
    if "fp32" in precisions:
        ways["fp32"] = run_torch(prepare(model, CPU, "fp32"))
    if "bf16" in precisions and fast_precision(CPU) == "bf16":
        ways["bf16"] = run_torch(prepare(model, CPU, "bf16"))
    if "int8" in precisions:
        ways["int8"] = _run_int8(model, folder / name.replace("/", "-"), folder / "picture.png")
    return model.network, ways


def _run_int8(model: PanopticBlend, output: Path, picture: Path) -> Run:
    """Calibrated on the picture that is predicted: of random weights, time alone is measured."""
    export_model(model, output, ExportSettings("onnx", "int8", calibration=[picture], fewest_equal=0.0))
    return run_export(output, read_rgb(picture))


def _size(network: nn.Module) -> str:
    """Its parameters, and the operations of one picture; two for each product that is added."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, SIZE, SIZE))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return f"{parameters / 1e6:.1f} | {counter.get_total_flops() / 1e9:.0f}"


if __name__ == "__main__":
    main()
