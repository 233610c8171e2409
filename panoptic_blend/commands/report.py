"""Draw a page of how good predictions are, of what is wrong with them, and of which are better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from string import ascii_uppercase

from panoptic_blend.commands.parsing import (
    Parser,
    add_segments,
    command,
    images_beside,
    one_or_more,
    parse,
    require_folder,
)


def make_parser() -> Parser:
    """Options of `panoptic-blend report`."""
    parser = command(
        "report",
        "Score predictions by all there is, and draw a page to look into: how sure the numbers are, which categories, "
        "sizes and errors cost them, and the pictures from worst to best. Several predictions are set side by side and "
        "held against the first: is B better than A, and where?",
    )
    parser.add_argument(
        "predictions",
        metavar="PREDICTIONS",
        type=Path,
        nargs="+",
        help="a folder that `evaluate` or `predict` wrote, or a COCO panoptic JSON",
    )
    parser.add_argument(
        "--annotations", metavar="JSON", type=Path, required=True, help="COCO panoptic JSON of the truth"
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        type=Path,
        help="folder of the images (default: for ROOT/annotations/panoptic_NAME.json, ROOT/NAME)",
    )
    add_segments(parser, "--segments", "truth")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="write the page here: a new folder")
    parser.add_argument(
        "--gallery",
        metavar="N",
        type=one_or_more,
        help="pictures on the page: of more, the worse half, and every so many of the others (default: 1000; with more "
        "than two predictions fewer, since each has maps of its own)",
    )
    parser.add_argument(
        "--boundary", action="store_true", help="count boundary PQ, too, which takes several times as long"
    )
    parser.add_argument("--workers", metavar="N", type=one_or_more, help="processes (default: one per core)")
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend report`."""
    parser = make_parser()
    options = parse(parser, arguments)
    if len(options.predictions) > len(ascii_uppercase):
        parser.error(f"{len(options.predictions)} predictions: at most {len(ascii_uppercase)} are set side by side")
    from rich.console import Console
    from rich.progress import Progress

    from panoptic_blend.coco.predictions import json_of
    from panoptic_blend.evaluation.scored_files import ScoredFiles
    from panoptic_blend.processes import available_cores
    from panoptic_blend.report.page import check_page
    from panoptic_blend.report.prediction_page import write_prediction_page
    from panoptic_blend.report.prediction_scores import score

    images = options.images or images_beside(options.annotations)
    require_folder(images)
    names = [""] if len(options.predictions) == 1 else list(ascii_uppercase[: len(options.predictions)])
    files = [ScoredFiles.open(options.annotations, json_of(each), options.segments) for each in options.predictions]
    check_page(options.output, files[0].truth.categories)
    gallery = options.gallery or min(1000, 2000 // len(files))
    workers = options.workers or available_cores()
    console = Console()
    with Progress(console=console) as bar:

        def shown_as(what: str) -> Callable[[int, int], None]:
            task = bar.add_task(what, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        scored = [
            score(name, each, options.boundary, workers, shown_as(f"scoring {name}".strip()))
            for name, each in zip(names, files, strict=True)
        ]
        write_prediction_page(options.output, scored, images, gallery, workers, shown_as("drawing"))
    console.print(f"written: {options.output / 'index.html'}", soft_wrap=True, highlight=False, markup=False)
