"""A configuration that fits a data set and this machine."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.parsing import Parser, command, file_to_write, parse, require_folder
from panoptic_blend.errors import ConfigError
from panoptic_blend.startup import share_cores


def make_parser() -> Parser:
    """Options of `panoptic-blend suggest-config`."""
    parser = command(
        "suggest-config",
        "Measure a data set and this machine, and write a configuration that says where its numbers come from.",
        "panoptic-blend suggest-config ANNOTATIONS --images DIR --output FILE [options]",
        """\
example:
  panoptic-blend suggest-config data/mine/annotations/panoptic_train.json --images data/mine/train \\
      --output mine.yaml --budget-hours 0.5
  panoptic-blend train --config mine.yaml --init-from nuclei-nano
""",
    )
    parser.add_argument(
        "annotations", metavar="ANNOTATIONS", type=Path, help="COCO panoptic JSON of the training images"
    )
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of the training images")
    parser.add_argument(
        "--val-annotations", metavar="FILE", type=Path, help="of the validation images (default: 'val' for 'train')"
    )
    parser.add_argument("--val-images", metavar="DIR", type=Path, help="their folder (default: likewise)")
    parser.add_argument("--output", metavar="FILE", type=file_to_write, required=True, help="YAML file to write")
    parser.add_argument(
        "--budget-hours", metavar="H", type=float, default=2.0, help="time for training on this machine (default: 2)"
    )
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend suggest-config`."""
    parser = make_parser()
    options = parse(parser, arguments)
    if not 0.01 <= options.budget_hours <= 10_000:
        parser.error(f"--budget-hours {options.budget_hours:g}: give hours, 0.01 to 10000")
    if options.output.exists():
        raise ConfigError(f"{options.output}: is there already. Choose another name, or remove it.")
    if (options.val_annotations is None) != (options.val_images is None):
        parser.error("--val-annotations and --val-images belong together: give both or none")
    require_folder(options.images)
    share_cores()
    from rich.console import Console

    from panoptic_blend.suggestion.suggest import DataPaths, suggest_config

    suggest_config(
        DataPaths.find(options.annotations, options.images, options.val_annotations, options.val_images),
        options.output,
        options.budget_hours,
        Console(markup=False, highlight=False, soft_wrap=True),
    )
