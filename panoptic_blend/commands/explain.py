"""What happens inside the model, in one image."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.parsing import (
    CHECKPOINT,
    Parser,
    add_checkpoint,
    command,
    one_or_more,
    parse_with_prediction_settings,
)
from panoptic_blend.startup import start_torch


def make_parser() -> Parser:
    """Options of `panoptic-blend explain`."""
    parser = command(
        "explain",
        "Draw what happens inside the model on one image: bases, attention, masks, and what the merge decided.",
    )
    add_checkpoint(parser, CHECKPOINT)
    parser.add_argument("--input", metavar="IMAGE", type=Path, required=True, help="the image")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="gets NAME_explained.png")
    parser.add_argument(
        "--instances",
        metavar="N",
        type=one_or_more,
        default=3,
        help="instances to follow from bases to mask (default: 3)",
    )
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend explain`."""
    parser = make_parser()
    options, settings = parse_with_prediction_settings(parser, arguments)
    start_torch()
    from rich.console import Console

    from panoptic_blend.checkpoints.names import load_checkpoint
    from panoptic_blend.config_files import change_settings
    from panoptic_blend.files.atomic import atomic_path
    from panoptic_blend.inference.explain import explain
    from panoptic_blend.inference.explanation_figure import draw_explanation
    from panoptic_blend.inference.torch_model import TorchModel

    model = load_checkpoint(options.checkpoint)
    change_settings(model.settings, settings)
    explanation = explain(TorchModel(model, options.device, "fp32"), options.input, options.instances)
    figure = draw_explanation(explanation, model.categories)
    path = options.output / f"{options.input.stem}_explained.png"
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
    Console().print(f"Drawn: {path}", soft_wrap=True, highlight=False, markup=False)
