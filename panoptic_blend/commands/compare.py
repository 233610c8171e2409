"""Variants of a model side by side."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.parsing import (
    Parser,
    command,
    join_settings,
    one_or_more,
    parse_with_settings,
    refuse_settings,
)
from panoptic_blend.startup import share_cores

_JUDGED = "runs are judged by the weights after their last step, without validation on the way. Leave it out."
_DECIDED = {
    "trainer.output": "runs lie below --output. Give that.",
    "trainer.seed": "every run gets a seed of its own. Give their number, --seeds.",
    "trainer.val_every": _JUDGED,
    "trainer.patience": _JUDGED,
}
"""Settings of every run, and why they are no variants'."""


def make_parser() -> Parser:
    """Options of `panoptic-blend compare`."""
    parser = command(
        "compare",
        "Train and evaluate variants of a model with the same data, schedule and seeds: one table for each ablation.",
        "panoptic-blend compare FILE ... [--data.root DIR] [--seeds N] [--steps N] [--section.setting VALUE ...]",
        """\
examples:
  panoptic-blend compare configs/ablations/mask_heads.yaml --data.root data/shapes --seeds 3
  panoptic-blend compare configs/ablations/*.yaml --base configs/camvid/r18.yaml --data.root ~/camvid --steps 1000

Given again, the same command continues where it was stopped; finished variants are not run again.
""",
    )
    parser.add_argument(
        "ablations",
        metavar="FILE",
        nargs="+",
        help="YAML file with a title, a base configuration and, by name, the settings each variant changes in it",
    )
    parser.add_argument("--base", metavar="FILE", help="configuration to use instead of the files' base")
    parser.add_argument("--seeds", metavar="N", type=one_or_more, default=1, help="runs of each variant (default: 1)")
    parser.add_argument("--steps", metavar="N", type=one_or_more, help="short for --trainer.max_steps")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("runs/compare"),
        help="gets NAME.md, NAME.csv and NAME.png for each ablation, and runs/ (default: runs/compare)",
    )
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend compare`."""
    parser = make_parser()
    # A setting's value, written apart from it, must not be taken for a file.
    options, overrides = parse_with_settings(parser, join_settings(arguments))
    refuse_settings(overrides, _DECIDED)
    share_cores()
    if options.steps is not None:
        overrides.append(f"--trainer.max_steps={options.steps}")
    from panoptic_blend.comparison.ablation import read_ablation

    ablations = [read_ablation(file, options.base, overrides) for file in options.ablations]
    from rich.console import Console

    from panoptic_blend.comparison.compare import compare

    console = Console()
    compare(ablations, options.seeds, options.output, console)
    console.print(f"Tables, plots and runs are in {options.output}", soft_wrap=True, highlight=False, markup=False)
