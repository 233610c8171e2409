"""Everything once, on generated images."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.catalogue.models import NUCLEI_NANO
from panoptic_blend.commands.parsing import Parser, command, one_or_more, parse_with_settings, refuse_settings
from panoptic_blend.startup import share_cores

DEMO_CONFIG = "shapes/nano.yaml"


def make_parser() -> Parser:
    """Options of `panoptic-blend demo`."""
    parser = command(
        "demo",
        f"Draw a small data set, train {NUCLEI_NANO} on it, evaluate it, and show where everything lies.",
        "panoptic-blend demo [--output DIR] [--section.setting VALUE ...]",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("runs/demo"),
        help="new folder for it all (default: runs/demo; DIR-2 and so on when it is there already)",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=DEMO_CONFIG,
        help=f"another configuration, trained from the weights that it names (default: {DEMO_CONFIG}, trained from "
        f"{NUCLEI_NANO})",
    )
    parser.add_argument(
        "--train-images", metavar="N", type=one_or_more, default=400, help="images to train on (default: 400)"
    )
    parser.add_argument("--val-images", metavar="N", type=one_or_more, default=60, help="held-out images (default: 60)")
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend demo`."""
    parser = make_parser()
    options, overrides = parse_with_settings(parser, arguments)
    refuse_settings(overrides, dict.fromkeys(("data.root", "trainer.output"), "all lies below --output. Give that."))
    share_cores()
    from rich.console import Console

    from panoptic_blend.config_files import read_config

    config = read_config([options.config], overrides)
    from panoptic_blend.demo import run_demo

    init_from = Path(NUCLEI_NANO) if options.config == DEMO_CONFIG else None
    run_demo(config, options.output, Console(), options.train_images, options.val_images, init_from)
