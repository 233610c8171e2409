"""A trained model as a folder that runs without torch."""

from __future__ import annotations

import re
from pathlib import Path

from panoptic_blend.commands.parsing import CHECKPOINT, command, parse_with_prediction_settings
from panoptic_blend.startup import start_torch


def run(arguments: list[str]) -> None:
    """`panoptic-blend export`."""
    parser = command(
        "export",
        "Write a model as a folder that runs without torch: picture in, id map and segments out.",
        epilog="""\
examples:
  panoptic-blend export --checkpoint runs/mine --output exported
  panoptic-blend export --checkpoint runs/mine --output camera --size 480x640 --precision fp16
""",
    )
    parser.add_argument("--checkpoint", metavar="PATH", type=Path, required=True, help=CHECKPOINT)
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--format",
        choices=["onnx", "torch"],
        default="onnx",
        help="'onnx' holds everything from the picture to the id map, 'torch' the network alone (default: onnx)",
    )
    parser.add_argument(
        "--precision", choices=["fp32", "fp16"], default="fp32", help="of the network; fp16 is for GPUs (default: fp32)"
    )
    parser.add_argument("--size", metavar="HxW", help="take pictures of this size alone (default: of any size)")
    options, settings = parse_with_prediction_settings(parser, arguments)
    size = None
    if options.size is not None:
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", options.size):
            parser.error(f"--size {options.size}: give height x width in pixels, for instance 480x640")
        height, width = map(int, options.size.split("x"))
        size = height, width
    start_torch()
    from rich.console import Console

    from panoptic_blend.checkpoints.native import load_model
    from panoptic_blend.config_files import change_settings
    from panoptic_blend.exporting.export import ExportSettings, export_model

    model = load_model(options.checkpoint)
    change_settings(model.settings, settings)
    manifest = export_model(model, options.output, ExportSettings(options.format, options.precision, size))
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"Written: {options.output / manifest.files['model']}; README.md beside it shows how to run it.")
    console.print(f"Beside the model itself, on one picture: {_in_words(manifest.measured)}.")


def _in_words(measured: object) -> str:
    assert isinstance(measured, dict)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in measured.items())
