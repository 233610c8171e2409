"""Another format's data set as one of COCO panoptic."""

from __future__ import annotations

import argparse
from pathlib import Path

from panoptic_blend.commands.parsing import command, one_or_more, parse
from panoptic_blend.errors import ConfigError

SHOWN = 20
"""Losses that are listed on the terminal; all of them are in the file."""


def run(arguments: list[str]) -> None:
    """`panoptic-blend convert-dataset`."""
    from panoptic_blend.convert.formats import FORMATS, recognise_format

    layouts = "\n".join(f"  {name:<24} {each.layout}" for name, each in FORMATS.items())
    parser = command(
        "convert-dataset",
        "Turn a data set of another format into COCO panoptic, in the layout that training expects.",
        "panoptic-blend convert-dataset [--from FORMAT] SOURCE --output DIR [options]",
        f"formats:\n{layouts}",
    )
    parser.add_argument("source", metavar="SOURCE", type=Path, help="folder or file of the data set")
    parser.add_argument(
        "--from", dest="kind", metavar="FORMAT", choices=FORMATS, help="see below (default: what it looks like)"
    )
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="new folder for the result")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of the values or colours of label maps")
    parser.add_argument("--images", metavar="DIR", type=Path, help="folder of the images, where not the usual one")
    parser.add_argument("--maps", metavar="DIR", type=Path, help="folder of the label maps, likewise")
    parser.add_argument("--instances", metavar="DIR", type=Path, help="folder of the instance maps, likewise")
    parser.add_argument(
        "--stuff-labels", metavar="PATH", type=Path, help="label maps or JSON with the stuff, for formats of objects"
    )
    parser.add_argument(
        "--things", "--thing", metavar="A,B", type=_names, default=[], help="categories that are things"
    )
    parser.add_argument("--stuff", metavar="A,B", type=_names, default=[], help="categories that are stuff")
    parser.add_argument("--rename", metavar="OLD=NEW", action="append", default=[], help="may be given several times")
    parser.add_argument("--merge", metavar="A,B=NEW", action="append", default=[], help="several categories as one")
    parser.add_argument("--drop", metavar="A,B", type=_names, default=[], help="categories whose pixels become void")
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
    parser.add_argument("--name", metavar="SPLIT", default="train", help="of the only split (default: train)")
    parser.add_argument("--copy", dest="images_mode", action="store_const", const="copy", help="images (the default)")
    parser.add_argument("--link", dest="images_mode", action="store_const", const="link", help="link to the images")
    parser.add_argument("--leave", dest="images_mode", action="store_const", const="leave", help="leave them there")
    parser.add_argument("--workers", metavar="N", type=one_or_more, help="processes (default: one per core)")
    options = parse(parser, arguments)
    from rich.console import Console
    from rich.progress import Progress

    from panoptic_blend.convert.choices import CategoryChoices, assign_splits, choose_categories
    from panoptic_blend.convert.conversion import Images, common_folder, convert
    from panoptic_blend.convert.options import FormatOptions
    from panoptic_blend.evaluation.processes import available_cores

    console = Console(markup=False, highlight=False, soft_wrap=True)
    kind = options.kind or recognise_format(options.source)
    if options.kind is None:
        console.print(f"{options.source} looks like {kind}.")
    source = FORMATS[kind].open_source(
        options.source,
        FormatOptions(
            labels=options.labels,
            images=options.images,
            maps=options.maps,
            instances=options.instances,
            stuff_labels=options.stuff_labels,
            things=options.things,
            stuff=options.stuff,
        ),
    )
    choices = CategoryChoices(options.things, options.stuff, _renamed(options), options.drop)
    categories, meaning = choose_categories(source.categories, choices)
    splits = assign_splits(source.images, options.split, options.seed, options.group_by, options.name)
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
    for split, count in summary.images.items():
        console.print(f"{split}: {count} images, {options.output / 'annotations' / f'panoptic_{split}.json'}")
    for category in categories:
        kind_name = "thing" if category.is_thing else "stuff"
        console.print(f"  {summary.segments[category.name]:>8} {category.name} ({kind_name})")
    if summary.overlaps:
        console.print(f"{summary.overlaps} objects are hidden in part by another; --overlap says which stays in front.")
    for lost in summary.lost[:SHOWN]:
        console.print(f"lost: {lost.file_name}: {lost.what}")
    if len(summary.lost) > SHOWN:
        console.print(f"and {len(summary.lost) - SHOWN} more")
    if mode == "leave":
        console.print(f"The images stay in {common_folder(source)}; give it as data.train_images and data.val_images.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


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
