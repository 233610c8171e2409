"""Predict annotated images and score the predictions."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.opening import open_predictor
from panoptic_blend.commands.parsing import (
    CHECKPOINT_OR_EXPORT,
    Parser,
    add_batch,
    add_checkpoint,
    add_max_pixels,
    add_overwrite,
    add_segments,
    add_speed,
    add_tile,
    add_tta,
    command,
    one_or_more,
    parse_with_prediction_settings,
    require_folder,
)

DEFAULT_OVERLAYS = 16
"""Images that `--overlays` draws when it is given no number."""


def make_parser() -> Parser:
    """Options of `panoptic-blend evaluate`."""
    parser = command("evaluate", "Predict annotated images, write the predictions, and score them (PQ, mask AP, mIoU).")
    add_checkpoint(parser, CHECKPOINT_OR_EXPORT)
    add_speed(parser, precision="fp32")
    add_batch(parser)
    add_tile(parser)
    add_tta(parser)
    add_max_pixels(parser, more="; a TIFF predicted by tiles is not decoded whole")
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of the images")
    parser.add_argument("--annotations", metavar="JSON", type=Path, required=True, help="their COCO panoptic JSON")
    add_segments(parser, "--segments", "annotations")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="gets predictions.json, predictions/*.png and metrics.json; with --sweep, sweep.json",
    )
    add_overwrite(parser)
    parser.add_argument(
        "--overlays",
        metavar="N",
        type=one_or_more,
        nargs="?",
        const=DEFAULT_OVERLAYS,
        default=0,
        help=f"draw the first N images (by default {DEFAULT_OVERLAYS}) beside prediction and truth, into overlays/",
    )
    parser.add_argument("--details", action="store_true", help="count what takes longer, too: boundary PQ")
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="also count the PQ that other values of model.merge.min_score and max_overlap would give, without running "
        "the network again: into sweep.json, which `report` draws",
    )
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend evaluate`."""
    parser = make_parser()
    options, settings = parse_with_prediction_settings(parser, arguments)
    from rich.console import Console

    from panoptic_blend.coco.annotations import PanopticAnnotations

    require_folder(options.images)
    annotations = PanopticAnnotations.load(options.annotations)  # before torch: a wrong path is told at once
    predictor = open_predictor(options, settings, "fp32", options.tile, options.overlap, tta=options.tta)
    from panoptic_blend.evaluation.sweep_file import SWEEP, read_sweep
    from panoptic_blend.inference.evaluate import SWEEP_GRID, evaluate

    console = Console()
    evaluate(
        predictor,
        annotations,
        options.images,
        options.output,
        console,
        options.segments,
        options.overlays,
        options.batch,
        options.overwrite,
        options.details,
        SWEEP_GRID if options.sweep else None,
    )
    if options.sweep:
        sweep = read_sweep(options.output / SWEEP)
        best = f"PQ {sweep.pq[sweep.best]:.1f} with {sweep.best}"
        console.print(
            f"The best of {len(sweep.pq)} thresholds on these images: {best}", soft_wrap=True, highlight=False
        )
    console.print(f"Predictions and metrics are in {options.output}", soft_wrap=True, highlight=False, markup=False)
