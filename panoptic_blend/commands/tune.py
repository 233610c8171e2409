"""Choose the thresholds of the merge by annotated images."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.parsing import (
    CHECKPOINT,
    Parser,
    add_batch,
    add_checkpoint,
    add_overwrite,
    add_segments,
    add_speed,
    command,
    parse_with_prediction_settings,
    require_folder,
)
from panoptic_blend.startup import start_torch


def make_parser() -> Parser:
    """Options of `panoptic-blend tune`."""
    parser = command(
        "tune",
        "Search the model.merge.min_score, max_overlap and min_stuff_area of the highest PQ on annotated images, and "
        "write the model that has them. The network runs once per image, and not at all in a folder of "
        "`evaluate --sweep`.",
    )
    add_checkpoint(parser, CHECKPOINT)
    add_speed(parser, precision="fp32")
    add_batch(parser)
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of the images")
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=Path,
        required=True,
        help="their COCO panoptic JSON; not of the images that the model is to be judged by",
    )
    add_segments(parser, "--segments", "annotations")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="gets tuned.safetensors, tuning.json and tuning.png, beside what `evaluate --sweep` writes",
    )
    add_overwrite(parser)
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend tune`."""
    parser = make_parser()
    options, settings = parse_with_prediction_settings(parser, arguments)
    from rich.console import Console

    from panoptic_blend.coco.annotations import PanopticAnnotations

    require_folder(options.images)
    annotations = PanopticAnnotations.load(options.annotations)  # before torch: a wrong path is told at once
    start_torch()
    from panoptic_blend.checkpoints.names import load_checkpoint
    from panoptic_blend.config_files import change_settings
    from panoptic_blend.inference.evaluate import evaluate, own_thresholds
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.inference.tuning import TUNED, tuning_grid, write_tuned

    model = load_checkpoint(options.checkpoint)
    change_settings(model.settings, settings)
    predictor = Predictor(model, options.device, options.precision or "fp32", options.compile, options.tiles)
    console = Console()
    evaluate(
        predictor,
        annotations,
        options.images,
        options.output,
        console,
        options.segments,
        batch=options.batch,
        overwrite=options.overwrite,
        sweep=tuning_grid(own_thresholds(model.settings)),
    )
    tuned = write_tuned(model, options.output)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    say(f"PQ {tuned.pq_before:.1f} with {tuned.before}")
    say(f"PQ {tuned.pq_after:.1f} with {tuned.after}, the best of {tuned.tried:,} combinations")
    say(f"written: {options.output / TUNED}. {tuned.note}")
