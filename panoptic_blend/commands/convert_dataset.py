"""Another format's data set as one of COCO panoptic, and back."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_blend.commands.parsing import Parser, add_segments, command, one_or_more, parse
from panoptic_blend.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from rich.console import Console

_READING = {
    "--from": "kind",
    **{f"--{name}": name for name in ("labels", "maps", "instances", "things", "stuff", "rename", "merge", "drop")},
    **{f"--{name}": name for name in ("overlap", "split", "seed")},
    "--stuff-labels": "stuff_labels",
    "--min-area": "min_area",
    "--group-by": "group_by",
}
"""Options that have no meaning with `--to`, and their names in the parsed arguments."""


def make_parser() -> Parser:
    """Options of `panoptic-blend convert-dataset`."""
    from panoptic_blend.convert.formats import FORMATS, TARGETS

    layouts = "\n".join(f"  {name:<24} {each.layout}" for name, each in FORMATS.items())
    parser = command(
        "convert-dataset",
        "Turn a data set of another format into COCO panoptic, in the layout that training expects; or, with --to,\n"
        "COCO panoptic annotations or predictions into another format, for instance to correct them by hand.",
        "panoptic-blend convert-dataset [--from FORMAT] SOURCE --output DIR [options]\n"
        "       panoptic-blend convert-dataset --to FORMAT ANNOTATIONS.json --output DIR [--images DIR]",
        f"formats:\n{layouts}",
    )
    parser.add_argument(
        "source", metavar="SOURCE", type=Path, help="folder, file or zip of the data set; its JSON for --to"
    )
    parser.add_argument(
        "--from", dest="kind", metavar="FORMAT", choices=list(FORMATS), help="see below (default: what it looks like)"
    )
    parser.add_argument("--to", metavar="FORMAT", choices=list(TARGETS), help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="new folder for the result")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of the values or colours of label maps")
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=Path,
        help="folder of the images, where not the usual one; with --to, without it labels are written alone",
    )
    parser.add_argument("--maps", metavar="DIR", type=Path, help="folder of the label maps, likewise")
    parser.add_argument("--instances", metavar="DIR", type=Path, help="folder of the instance maps, likewise")
    parser.add_argument(
        "--stuff-labels", metavar="PATH", type=Path, help="label maps or JSON with the stuff, for formats of objects"
    )
    names = {"metavar": "A,B", "type": _names, "action": "extend", "default": []}
    parser.add_argument(
        "--things",
        "--thing",
        help="categories that are things; a name with a comma stands in double quotes, here and below",
        **names,
    )
    parser.add_argument("--stuff", help="categories that are stuff", **names)
    parser.add_argument("--rename", metavar="OLD=NEW", action="append", default=[], help="may be given several times")
    parser.add_argument("--merge", metavar="A,B=NEW", action="append", default=[], help="several categories as one")
    parser.add_argument(
        "--drop", help="categories to leave out: what lies behind them shows, or the pixels are void", **names
    )
    parser.add_argument(
        "--overlap",
        choices=["smaller", "order", "error"],
        default="smaller",
        help="which of overlapping objects stays in front: the smaller, the later in order, or none (default: smaller)",
    )
    parser.add_argument(
        "--min-area", metavar="N", type=one_or_more, default=1, help="connected parts of fewer pixels become void"
    )
    parser.add_argument("--split", metavar="0.8,0.2", type=_shares, default=[], help="shares of train, val and test")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the order in which images are dealt out")
    parser.add_argument(
        "--group-by", metavar="REGEX", default="", help="images of equal matches stay in one split (default: by folder)"
    )
    parser.add_argument(
        "--name", metavar="SPLIT", help="of the only split (default: train; with --to, after the JSON's name)"
    )
    add_segments(parser, "--segments", "annotations of --to")
    parser.add_argument("--copy", dest="images_mode", action="store_const", const="copy", help="images (the default)")
    parser.add_argument("--link", dest="images_mode", action="store_const", const="link", help="link to the images")
    parser.add_argument("--leave", dest="images_mode", action="store_const", const="leave", help="leave them there")
    parser.add_argument("--workers", metavar="N", type=one_or_more, help="processes (default: one per core)")
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend convert-dataset`."""
    parser = make_parser()
    options = parse(parser, arguments)
    from rich.console import Console

    console = Console(markup=False, highlight=False, soft_wrap=True)
    if options.to:
        _check_back(options, parser)
        _convert_back(options, console)
    elif options.segments:
        raise ConfigError("--segments belongs to --to, which reads COCO panoptic data.")
    else:
        _convert(options, console)


def _check_back(options: argparse.Namespace, parser: Parser) -> None:
    for option, name in _READING.items():
        if getattr(options, name) != parser.get_default(name):
            raise ConfigError(f"{option} is for reading other formats; it has no meaning with --to. Leave it out.")
    if options.images_mode in ("copy", "link") and options.images is None:
        raise ConfigError(f"--{options.images_mode}: say where the images are with --images DIR.")


def _convert(options: argparse.Namespace, console: Console) -> None:
    from panoptic_blend.convert.archive import is_archive, unpacked
    from panoptic_blend.convert.formats import place_in

    if not is_archive(options.source):
        _convert_from(options.source, options, console)
        return
    if options.images_mode in ("link", "leave"):
        raise ConfigError(
            f"--{options.images_mode}: {options.source} is unpacked for the conversion only. Leave it out."
        )
    with unpacked(options.source, options.output.parent) as folder:
        _convert_from(place_in(folder, options.kind), options, console)


def _convert_from(place: Path, options: argparse.Namespace, console: Console) -> None:
    from rich.progress import Progress

    from panoptic_blend.convert.choices import CategoryChoices, assign_splits, choose_categories
    from panoptic_blend.convert.conversion import Images, common_folder, convert
    from panoptic_blend.convert.formats import FORMATS, recognise_format
    from panoptic_blend.convert.options import FormatOptions
    from panoptic_blend.convert.summary import SHOWN
    from panoptic_blend.processes import available_cores

    kind = options.kind or recognise_format(place)
    if options.kind is None:
        console.print(f"{options.source} looks like {kind}.")
    source = FORMATS[kind].open_source(
        place,
        FormatOptions(
            labels=options.labels,
            images=options.images,
            maps=options.maps,
            instances=options.instances,
            stuff_labels=options.stuff_labels,
            things=options.things,
            stuff=options.stuff,
            drop=options.drop,
        ),
    )
    choices = CategoryChoices(options.things, options.stuff, _renamed(options), options.drop)
    categories, meaning = choose_categories(source.categories, choices)
    splits = assign_splits(source.images, options.split, options.seed, options.group_by, options.name or "train")
    mode: Images = options.images_mode or "copy"
    with Progress(console=console) as bar:
        task = bar.add_task("converting", total=len(source.images))
        summary = convert(
            source,
            options.output,
            categories,
            meaning,
            splits,
            options.overlap,
            options.min_area,
            mode,
            options.workers or available_cores(),
            lambda: bar.advance(task),
        )
    for line in summary.lines(SHOWN):
        console.print(line)
    for split in splits:
        console.print(f"written: {options.output / 'annotations' / f'panoptic_{split}.json'}")
    if mode == "leave":
        console.print(f"The images stay in {common_folder(source)}; give it as data.train_images and data.val_images.")


def _convert_back(options: argparse.Namespace, console: Console) -> None:
    from rich.progress import Progress

    from panoptic_blend.coco.annotations import PanopticAnnotations
    from panoptic_blend.convert.back import convert_back
    from panoptic_blend.convert.choices import check_split_name
    from panoptic_blend.convert.formats import TARGETS
    from panoptic_blend.convert.summary import SHOWN
    from panoptic_blend.processes import available_cores

    if options.source.is_dir():
        raise DatasetError(f"{options.source}: is a folder. Give its JSON, such as annotations/panoptic_val.json.")
    annotations = PanopticAnnotations.load(options.source)
    split = check_split_name(options.name) if options.name else options.source.stem.rpartition("_")[2]
    with Progress(console=console) as bar:
        task = bar.add_task("converting", total=len(annotations))
        summary = convert_back(
            annotations,
            options.output,
            TARGETS[options.to](annotations.categories, split),
            split,
            options.segments,
            options.images if options.images_mode != "leave" else None,
            options.images_mode == "link",
            options.workers or available_cores(),
            lambda: bar.advance(task),
        )
    for line in summary.lines(SHOWN):
        console.print(line)
    console.print(f"written: {options.output}")


def _names(text: str) -> list[str]:
    try:
        names = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names ({error})") from None
    return [name.strip() for name in names if name.strip()]


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of shares such as 0.8,0.2") from None


def _renamed(options: argparse.Namespace) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for option, words in (("--rename", options.rename), ("--merge", options.merge)):
        for word in words:
            old, equals, new = word.rpartition("=")
            if not (old and equals and new.strip()):
                raise ConfigError(f"{option} {word}: write it as {'OLD=NEW' if option == '--rename' else 'A,B=NEW'}.")
            for name in [old.strip()] if option == "--rename" else _names(old):
                renamed[name] = new.strip()
    return renamed
