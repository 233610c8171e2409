"""Look at a data set before training on it."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_blend.commands.parsing import Parser, command, images_beside, one_or_more, parse, split_name
from panoptic_blend.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from rich.console import Console

    from panoptic_blend.coco.annotations import PanopticAnnotations
    from panoptic_blend.report.dataset_facts import SplitFacts
    from panoptic_blend.report.findings import Finding

SHOWN = 20


def make_parser() -> Parser:
    """Options of `panoptic-blend check-dataset`."""
    parser = command(
        "check-dataset",
        "Check everything that training needs, and draw a page that shows what a data set holds and what is odd about "
        "it. Give the splits of a data set together: then they are compared with each other.",
    )
    parser.add_argument(
        "annotations", metavar="ANNOTATIONS", type=Path, nargs="+", help="COCO panoptic JSON of a split"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=Path,
        nargs="+",
        help="folder of the images, one for each JSON (default: for ROOT/annotations/panoptic_NAME.json, ROOT/NAME)",
    )
    parser.add_argument(
        "--segments",
        metavar="DIR",
        type=Path,
        nargs="+",
        help="folder of the id-map PNGs, one for each JSON (default: beside the JSON)",
    )
    parser.add_argument("--output", metavar="DIR", type=Path, help="write the page here: a new folder")
    parser.add_argument(
        "--gallery",
        metavar="N",
        type=one_or_more,
        default=1000,
        help="pictures on the page; those with a problem are shown even beyond that (default: 1000)",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    parser.add_argument("--workers", metavar="N", type=one_or_more, help="processes (default: one per core)")
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend check-dataset`."""
    parser = make_parser()
    options = parse(parser, arguments)
    for name in ("images", "segments"):
        folders = getattr(options, name)
        if folders is not None and len(folders) != len(options.annotations):
            raise ConfigError(f"--{name}: give as many folders as JSON files, {len(options.annotations)}.")
    _check(options)


def _check(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from panoptic_blend.coco.annotations import PanopticAnnotations
    from panoptic_blend.processes import available_cores
    from panoptic_blend.report.dataset_facts import measure_split
    from panoptic_blend.report.dataset_page import write_dataset_page
    from panoptic_blend.report.findings import find
    from panoptic_blend.report.measuring import SplitFiles
    from panoptic_blend.report.page import check_page
    from panoptic_blend.report.summary import as_json

    console = Console(stderr=options.json)
    workers = options.workers or available_cores()
    loaded = [PanopticAnnotations.load(path, on_bad_sample="skip") for path in options.annotations]
    _check_same_categories(loaded)
    if options.output is not None:
        check_page(options.output, loaded[0].categories)
    splits = []
    with Progress(console=console) as bar:
        for number, annotations in enumerate(loaded):
            name = split_name(annotations.path)
            files = SplitFiles(
                annotations.path,
                options.images[number] if options.images else images_beside(annotations.path),
                options.segments[number] if options.segments else annotations.default_segments_folder,
            )
            task = bar.add_task(f"checking {name}", total=len(annotations))
            splits.append(measure_split(name, files, annotations, workers, partial(bar.advance, task)))
        findings = find(splits)
        if options.output is not None:
            task = bar.add_task("drawing", total=None)
            write_dataset_page(
                options.output,
                splits,
                findings,
                options.gallery,
                workers,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    if options.json:
        sys.stdout.write(json.dumps(as_json(splits, findings), indent=1) + "\n")
    else:
        _print(console, splits, findings)
    if options.output is not None:
        console.print(f"written: {options.output / 'index.html'}", soft_wrap=True, highlight=False, markup=False)
    faults = sum(finding.kind == "fault" for finding in findings)
    if faults:
        raise DatasetError(f"{faults} things are wrong. Mend them, or train with data.on_bad_sample: skip.")


def _check_same_categories(splits: list[PanopticAnnotations]) -> None:
    first = splits[0]
    for other in splits[1:]:
        differences = first.categories.differences(other.categories, str(first.path), str(other.path))
        if differences:
            raise DatasetError(f"The splits have different categories: {differences}. Give all splits the same list.")


def _print(console: Console, splits: list[SplitFacts], findings: list[Finding]) -> None:
    from rich.markup import escape

    for split in splits:
        console.print(f"{escape(split.name)}: {len(split.annotations):,} pictures, {len(split.segments.id):,} segments")
    for finding in findings[:SHOWN]:
        split = splits[finding.split]
        place = split.name if finding.image is None else f"{split.name}/{split.file_name(finding.image)}"
        line = escape(f"{finding.kind}: {place}: {finding.text}")
        console.print(f"[red]{line}[/red]" if finding.kind == "fault" else line, soft_wrap=True)
    if len(findings) > SHOWN:
        console.print(f"... and {len(findings) - SHOWN:,} more; --output DIR shows all, --json lists them.")
    if not findings:
        console.print("Nothing is wrong, nothing stands out.")
