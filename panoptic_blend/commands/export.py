"""A trained model as a folder that runs without torch."""

from __future__ import annotations

import argparse
import math
import re
from contextlib import suppress
from pathlib import Path

from panoptic_blend.commands.parsing import CHECKPOINT, Parser, add_offline, command, parse_with_prediction_settings
from panoptic_blend.startup import start_torch


def make_parser() -> Parser:
    """Options of `panoptic-blend export`."""
    parser = command(
        "export",
        "Write a model as a folder that runs without torch: picture in, id map and segments out.",
        epilog="""\
examples:
  panoptic-blend export --checkpoint runs/mine --output exported
  panoptic-blend export --checkpoint runs/mine --output camera --size 480x640 --precision fp16
  panoptic-blend export --checkpoint runs/mine --output small --precision int8 --calibration data/mine/train \\
      --guard data/mine/annotations/panoptic_val.json --images data/mine/val
""",
    )
    parser.add_argument("--checkpoint", metavar="PATH", type=Path, required=True, help=CHECKPOINT)
    add_offline(parser)
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--format",
        choices=["onnx", "openvino", "torch"],
        default="onnx",
        help="'onnx' and 'openvino' hold all from the picture to the id map, 'torch' the network alone (default: onnx)",
    )
    parser.add_argument(
        "--precision",
        choices=["fp32", "fp16", "int8"],
        default="fp32",
        help="of the network; fp16 is for GPUs, int8 for CPUs (default: fp32)",
    )
    parser.add_argument("--size", metavar="HxW", help="take pictures of this size alone (default: of any size)")
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        type=Path,
        help="for int8, images like those that will be predicted; at most 100 of them are used",
    )
    parser.add_argument(
        "--guard", metavar="JSON", type=Path, help="for int8, panoptic annotations: measure PQ in fp32 and in int8"
    )
    parser.add_argument("--images", metavar="DIR", type=Path, help="the images of --guard")
    parser.add_argument(
        "--most-pq-loss",
        metavar="POINTS",
        type=_points,
        help="parts of the network stay in float until PQ loses no more than this (default: 0.5)",
    )
    return parser


def _points(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (points := float(text)) < math.inf:
            return points
    raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")


def run(arguments: list[str]) -> None:
    """`panoptic-blend export`."""
    parser = make_parser()
    options, settings = parse_with_prediction_settings(parser, arguments)
    size = None
    if options.size is not None:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", options.size):
            parser.error(f"--size {options.size}: give height x width in pixels, for instance 480x640")
        height, width = map(int, options.size.split("x"))
        size = height, width
    if (options.guard is None) != (options.images is None):
        parser.error("--guard and --images belong together")
    if options.most_pq_loss is not None and options.guard is None:
        parser.error("--most-pq-loss needs --guard, which measures PQ")
    start_torch()
    from rich.console import Console

    from panoptic_blend.checkpoints.names import load_checkpoint
    from panoptic_blend.coco.annotations import PanopticAnnotations
    from panoptic_blend.coco.images import EvaluationDataset
    from panoptic_blend.config_files import change_settings
    from panoptic_blend.exporting.export import export_model
    from panoptic_blend.exporting.guard import Guard
    from panoptic_blend.exporting.settings import ExportSettings
    from panoptic_blend.inference.sources import find_images
    from panoptic_blend.runtime.processor import describe_fastest, processor_kind

    model = load_checkpoint(options.checkpoint)
    change_settings(model.settings, settings)
    guard, calibration = None, []
    if options.guard is not None:
        annotations = PanopticAnnotations.load(options.guard)
        truth = EvaluationDataset(annotations, options.images, annotations.default_segments_folder)
        guard = Guard(truth, 0.5 if options.most_pq_loss is None else options.most_pq_loss)
    if options.calibration is not None:
        calibration = [file.path for file in find_images([str(options.calibration)], []).files]
    console = Console(soft_wrap=True, highlight=False, markup=False)
    manifest = export_model(
        model,
        options.output,
        ExportSettings(options.format, options.precision, size, calibration, guard),
        console.print,
    )
    written = ", ".join(str(options.output / file.name) for file in manifest.files.values())
    console.print(f"Written: {written}; README.md beside it shows how to run it.")
    console.print(f"Beside the model itself, on one picture: {_in_words(manifest.measured)}.")
    if options.format != "torch":
        console.print(f"Of this machine: {describe_fastest(processor_kind())}.")


def _in_words(measured: object) -> str:
    assert isinstance(measured, dict)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in measured.items())
