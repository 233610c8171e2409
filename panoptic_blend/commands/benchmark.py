"""How fast predictions are on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from panoptic_blend.commands.opening import open_predictor
from panoptic_blend.commands.parsing import (
    CHECKPOINT_OR_EXPORT,
    Parser,
    add_offline,
    add_speed,
    command,
    file_to_write,
    one_or_more,
    parse_with_settings,
)
from panoptic_blend.startup import start_torch

DEFAULT_CONFIG = "coco/panoptic_r50_3x.yaml"


def make_parser() -> Parser:
    """Options of `panoptic-blend benchmark`."""
    parser = command(
        "benchmark",
        "Time every stage of a prediction on this machine, and say how near the network comes to what it can compute.",
        "panoptic-blend benchmark [--config FILE | --checkpoint PATH] [options] [--section.setting VALUE ...]",
        """\
examples:
  panoptic-blend benchmark --size 800x1216 --instances 100 --threads 2
  panoptic-blend benchmark --checkpoint runs/mine --precision bf16 --compile --output speed.json
""",
    )
    parser.add_argument("--config", metavar="FILE", help=f"a model with random weights (default: {DEFAULT_CONFIG})")
    parser.add_argument("--checkpoint", metavar="PATH", type=Path, help=f"a model: {CHECKPOINT_OR_EXPORT}")
    add_offline(parser)
    parser.add_argument("--device", default="auto", help="'auto' takes a GPU when there is one (default: auto)")
    add_speed(parser, precision="auto")
    parser.add_argument("--size", metavar="HxW", default="800x1216", help="of the image in pixels (default: 800x1216)")
    parser.add_argument("--batch", metavar="N", type=one_or_more, default=1, help="images at a time (default: 1)")
    parser.add_argument(
        "--instances",
        metavar="N",
        type=one_or_more,
        default=100,
        help="detections that random weights find (default: 100)",
    )
    parser.add_argument(
        "--classes", metavar="N", type=int, default=133, help="categories of random weights, 2 or more (default: 133)"
    )
    parser.add_argument("--threads", metavar="N", type=one_or_more, help="CPU threads (default: the runtime chooses)")
    parser.add_argument(
        "--rounds", metavar="N", type=one_or_more, default=10, help="measurements of a stage (default: 10)"
    )
    parser.add_argument("--output", metavar="FILE", type=file_to_write, help="write the measurements to this JSON file")
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend benchmark`."""
    parser = make_parser()
    options, overrides = parse_with_settings(parser, arguments)
    from panoptic_blend.config.names import check_prediction_settings

    if options.config and options.checkpoint:
        parser.error("--config and --checkpoint both name a model: give one of them")
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", options.size):
        parser.error(f"--size {options.size}: give height x width in pixels, for instance 800x1216")
    height, width = map(int, options.size.split("x"))
    if min(height, width) < 32:
        parser.error(f"--size {options.size}: give 32 pixels or more in both directions")
    if options.checkpoint:
        check_prediction_settings(overrides)
    if options.classes < 2:
        parser.error("--classes must be 2 or more")
    from rich.console import Console

    from panoptic_blend.runtime.manifest import is_export

    if options.checkpoint and is_export(options.checkpoint):
        if options.batch > 1:
            parser.error("an exported model predicts one image at a time: no --batch")
        from panoptic_blend.benchmarking.exported import run_benchmark_of_export

        predictor = open_predictor(options, overrides, precision="auto", threads=options.threads)
        run_benchmark_of_export(predictor, (height, width), options.rounds, options.output, Console())
        return
    start_torch()  # as the commands whose time it tells
    from panoptic_blend.benchmarking.benchmark import Settings, run_benchmark

    run_benchmark(
        Settings(
            options.checkpoint or options.config or DEFAULT_CONFIG,
            overrides,
            (height, width),
            options.batch,
            options.instances,
            options.classes,
            options.device,
            options.precision or "auto",
            options.compile,
            options.tiles,
            options.threads,
            options.rounds,
        ),
        options.output,
        Console(),
    )
