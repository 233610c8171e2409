"""What the commands' options have in common; a misspelt one is answered with the nearest."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from panoptic_blend.catalogue.cache import go_offline
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.files.bounds import MAX_PIXELS, allow_pixels
from panoptic_blend.spelling import check_options

CHECKPOINT = "a run's folder, a .safetensors file, or a name that `panoptic-blend models` lists"
CHECKPOINT_OR_EXPORT = (
    "a run's folder, a .safetensors file, a folder that `export` wrote, or a name that `panoptic-blend models` lists"
)


DEFAULT_OVERLAP = 128
"""Pixels that tiles share."""


class Parser(argparse.ArgumentParser):
    """argparse that knows its options and which are paths, expands `~` in them, and raises our errors, never exits.

    A shell expands `--output ~/run` itself, but not `--output=~/run`.
    """

    def __init__(self, name: str, description: str, usage: str | None = None, epilog: str | None = None):
        self.option_names: list[str] = []
        self.paths: list[argparse.Action] = []
        super().__init__(
            prog=f"panoptic-blend {name}".strip(),
            description=description,
            usage=usage,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.register("type", Path, lambda text: Path(os.path.expanduser(text)))

    def add_argument(self, *name_or_flags: str, **settings: Any) -> argparse.Action:
        """As argparse's, and takes note of the option."""
        action = super().add_argument(*name_or_flags, **settings)
        self.option_names += action.option_strings
        if settings.get("type") in (Path, file_to_write) or settings.get("metavar") in ("FILE", "DIR", "PATH", "IMAGE"):
            self.paths.append(action)
        return action

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. Try {self.prog} --help")


def command(name: str, description: str, usage: str | None = None, epilog: str | None = None) -> Parser:
    """The parser of one command; `name` is "" for the program itself."""
    return Parser(name, description, usage, epilog)


def add_checkpoint(parser: Parser, kinds: str) -> None:
    """`--checkpoint`, of one of these kinds, and `--device`: of every command that predicts."""
    parser.add_argument("--checkpoint", metavar="PATH", type=Path, required=True, help=kinds)
    add_offline(parser)
    parser.add_argument(
        "--device", default="auto", help="'auto' takes a GPU when there is one; or cpu, cuda, cuda:1 (default: auto)"
    )


def add_offline(parser: Parser) -> None:
    """`--offline`, of every command that takes a model's name."""
    parser.add_argument(
        "--offline",
        action=_GoOffline,
        nargs=0,
        help="never use the network, as PANOPTIC_BLEND_OFFLINE=1 says: a model that is not here is an error",
    )


class _GoOffline(argparse.Action):
    """Takes effect where it is read: processes that are started later must know it, too."""

    def __call__(self, *_: object) -> None:
        go_offline()


def add_speed(parser: Parser, precision: str) -> None:
    """`--precision` (None when it is not given), `--compile` and `--no-tiles`, of commands that run the network."""
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        help=f"of the network; 'auto' takes bf16 where this device is faster with it (default: {precision})",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the network at the first image of every size; worth it for hundreds of images of few sizes",
    )
    parser.add_argument(
        "--no-tiles",
        action="store_false",
        dest="tiles",
        help="leave wide convolutions to torch, which on CPUs are otherwise computed by tiles: faster, and off by one "
        "part in 10^6",
    )


def add_batch(parser: Parser) -> None:
    """`--batch`, of every command that predicts many images."""
    parser.add_argument(
        "--batch",
        metavar="N",
        type=one_or_more,
        default=1,
        help="predict up to N neighbours of one size together; meant for GPUs (default: 1)",
    )


def add_tile(parser: Parser) -> None:
    """`--tile` and `--overlap`, of every command that predicts pictures larger than a network's input."""
    parser.add_argument(
        "--tile",
        metavar="PIXELS",
        type=one_or_more,
        help="predict pictures in overlapping tiles of this size, not resized, and join these into one map",
    )
    parser.add_argument(
        "--overlap",
        metavar="PIXELS",
        type=one_or_more,
        default=DEFAULT_OVERLAP,
        help=f"that neighbouring tiles share, more than most objects have (default: {DEFAULT_OVERLAP})",
    )


def add_tta(parser: Parser) -> None:
    """`--tta`, of every command that may take its time over a picture."""
    parser.add_argument(
        "--tta",
        metavar="VIEWS",
        help="test-time augmentation: predict every picture mirrored too (flip), at these factors of its size "
        "(scales=0.75,1,1.25) or both (flip,scales=0.75,1,1.25), and merge what all of them show",
    )


def add_max_pixels(parser: Parser, what: str = "picture", more: str = "") -> None:
    """`--max-pixels`, of every command that decodes pictures of any size."""
    parser.add_argument(
        "--max-pixels",
        action=_AllowPixels,
        metavar="N",
        type=one_or_more,
        help=f"largest {what} that is decoded whole, against files that would fill memory (default: {MAX_PIXELS})"
        f"{more}",
    )


class _AllowPixels(argparse.Action):
    """Takes effect where it is read."""

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        assert isinstance(values, int)
        allow_pixels(values)
        setattr(namespace, self.dest, values)


def add_cluster(parser: Parser) -> None:
    """`--threads` and `--ray-address`, of every command that can work on a Ray cluster."""
    parser.add_argument(
        "--threads", metavar="N", type=one_or_more, default=1, help="of each worker on Ray, a core each (default: 1)"
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="of the Ray cluster (default: what RAY_ADDRESS says, or else this machine alone)",
    )


def add_overwrite(parser: Parser) -> None:
    """`--overwrite`, of every command that keeps what its output folder holds."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="predict all images again; without, those predicted before with the same model and settings are kept",
    )


def add_segments(parser: Parser, option: str, owner: str) -> None:
    """Where the PNGs beside a COCO panoptic JSON are."""
    parser.add_argument(
        option, metavar="DIR", type=Path, help=f"folder of the id-map PNGs of the {owner} (default: beside the JSON)"
    )


def parse(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    """All arguments must be the parser's; a misspelt one is answered with the nearest."""
    check_options(arguments, parser.option_names)
    return parser.parse_args(arguments)


def parse_with_settings(parser: Parser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The parser's own options, and dotted settings with their values."""
    from panoptic_blend.config.names import setting_names

    check_options(arguments, [*parser.option_names, *(f"--{name}" for name in setting_names())])
    if {"--help", "-h"} & set(arguments):
        from panoptic_blend.config_files import settings_help

        parser.epilog = f"{parser.epilog or ''}\nsettings, in a configuration file or here:\n\n{settings_help()}"
    return parser.parse_known_args(arguments)


def refuse_settings(overrides: list[str], remedies: dict[str, str]) -> None:
    """Raise `ConfigError` where a setting is given that the command decides by itself; with what to do instead."""
    for word in overrides:
        name = word.split("=", 1)[0].removeprefix("--")
        if word.startswith("--") and name in remedies:
            raise ConfigError(f"--{name}: {remedies[name]}")


def parse_with_prediction_settings(parser: Parser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The parser's own options, and dotted settings that a prediction can change, with their values."""
    from panoptic_blend.config.names import check_prediction_settings, setting_names

    check_options(arguments, [*parser.option_names, *(f"--{name}" for name in setting_names())])
    if {"--help", "-h"} & set(arguments):
        from panoptic_blend.config_files import prediction_settings_help

        title = "settings of the model that a prediction can change (default: the checkpoint's):"
        parser.epilog = f"{parser.epilog or ''}\n{title}\n\n{prediction_settings_help()}"
    options, overrides = parser.parse_known_args(arguments)
    check_prediction_settings(overrides)
    return options, overrides


def join_settings(arguments: list[str]) -> list[str]:
    """`--section.setting VALUE` as one word `--section.setting=VALUE`."""
    joined: list[str] = []
    for word in arguments:
        if joined and re.fullmatch(r"--\w+\.[\w.]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def file_to_write(text: str) -> Path:
    """A path that a file can have, for `type=`: told before the work whose result it gets."""
    path = Path(os.path.expanduser(text))
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder. Name a file")
    blocked = [each for each in path.parents if each.exists() and not each.is_dir()]
    if blocked:
        raise argparse.ArgumentTypeError(f"{blocked[0]} is a file, and no folder for {text}")
    return path


def one_or_more(text: str) -> int:
    """Type of every option that counts something."""
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def split_name(annotations: Path) -> str:
    """`panoptic_val.json` is the split val."""
    return annotations.stem.removeprefix("panoptic_")


def images_beside(annotations: Path) -> Path:
    """Where the images of `ROOT/annotations/panoptic_NAME.json` are by default: `ROOT/NAME`."""
    return annotations.parent.parent / split_name(annotations)


def require_folder(path: Path) -> None:
    """Raise `DatasetError` unless the folder is there."""
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder.")
