"""Score predictions on disk, without torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from panoptic_blend.commands.parsing import (
    Parser,
    add_cluster,
    add_max_pixels,
    add_segments,
    command,
    file_to_write,
    one_or_more,
    parse,
)
from panoptic_blend.distributed.pool import Cluster

if TYPE_CHECKING:
    from panoptic_blend.evaluation.details import DetailsResult
    from panoptic_blend.evaluation.film_quality import FilmResult
    from panoptic_blend.evaluation.pq_result import PQResult

Scores: TypeAlias = "tuple[PQResult, DetailsResult | None, FilmResult | None]"


def make_parser() -> Parser:
    """Options of `panoptic-blend score`."""
    parser = command("score", "Score predictions on disk against the truth: panoptic quality (PQ, SQ, RQ).")
    parser.add_argument("--ground-truth", metavar="JSON", type=Path, required=True, help="COCO panoptic JSON")
    parser.add_argument(
        "--predictions", metavar="JSON", type=Path, required=True, help="COCO panoptic JSON, or the folder of `predict`"
    )
    add_segments(parser, "--segments", "ground truth")
    add_segments(parser, "--predicted-segments", "predictions")
    parser.add_argument("--output", metavar="FILE", type=file_to_write, help="write the metrics to this JSON file")
    parser.add_argument(
        "--engine",
        choices=["auto", "builtin", "hotcoco", "panopticapi", "ray"],
        default="auto",
        help="who counts: 'hotcoco' is faster, 'panopticapi' is the official implementation, where they are installed; "
        "'ray' is 'builtin' on one machine or several; 'auto' takes hotcoco when nothing can make it differ from "
        "'builtin' (default: auto)",
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="score by all there is (docs/metrics.md), not by PQ alone; the built-in engine counts",
    )
    parser.add_argument(
        "--video",
        action="store_true",
        help="score films: VPQ and STQ beside PQ; the truth's images have video_id and frame_id",
    )
    parser.add_argument("--workers", metavar="N", type=one_or_more, help="processes or threads (default: one per core)")
    add_max_pixels(parser, "id map")
    add_cluster(parser)
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend score`."""
    parser = make_parser()
    options = parse(parser, arguments)
    if options.details and options.engine in ("hotcoco", "panopticapi"):
        parser.error(f"--engine {options.engine} counts PQ alone: leave it out, or leave --details out")
    if options.video and (options.details or options.engine not in ("auto", "builtin", "ray")):
        parser.error("--video counts VPQ and STQ: leave --details and --engine out")
    if options.engine != "ray" and (options.threads > 1 or options.ray_address):
        parser.error("--threads and --ray-address are Ray's: give --engine ray with them")
    from rich.console import Console
    from rich.progress import Progress

    from panoptic_blend.coco.predictions import json_of
    from panoptic_blend.evaluation.report import print_tables, write_metrics

    options.predictions = json_of(options.predictions)
    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        score = _score_on_ray if options.engine == "ray" else _score_here
        result, details, films = score(options, progress)
    print_tables(Console(), result, details=details, films=films)
    if options.output:
        write_metrics(options.output, result, details=details, films=films)


def _score_here(options: argparse.Namespace, progress: Callable[[int, int], None]) -> Scores:
    files = options.ground_truth, options.predictions
    how = {
        "segments": options.segments,
        "predicted_segments": options.predicted_segments,
        "workers": options.workers,
        "progress": progress,
    }
    if options.video:
        from panoptic_blend.evaluation.film_quality import film_quality

        films = film_quality(*files, **how)
        return films.pq, None, films
    if options.details:
        from panoptic_blend.evaluation.details import panoptic_details

        details = panoptic_details(*files, **how)
        return details.pq, details, None
    # Without what only details need, scipy above all.
    from panoptic_blend.evaluation.pq import panoptic_quality

    return panoptic_quality(*files, engine=options.engine, **how), None, None


def _score_on_ray(options: argparse.Namespace, progress: Callable[[int, int], None]) -> Scores:
    from panoptic_blend.distributed.scoring import count_on_ray
    from panoptic_blend.evaluation.scored_files import ScoredFiles
    from panoptic_blend.processes import available_cores

    workers = options.workers or max(1, available_cores() // options.threads)
    cluster = Cluster(workers, options.threads, options.ray_address)
    folders = options.segments, options.predicted_segments
    files = ScoredFiles.open(options.ground_truth, options.predictions, *folders)
    categories = files.truth.categories
    if options.video:
        from panoptic_blend.evaluation.film_quality import FilmQuality, check_frames

        check_frames(files.truth)
        films = count_on_ray(cluster, FilmQuality(categories), files, progress).compute()
        return films.pq, None, films
    if options.details:
        from panoptic_blend.evaluation.details import Details

        details = count_on_ray(cluster, Details(categories, boundary=True), files, progress).compute()
        return details.pq, details, None
    from panoptic_blend.evaluation.pq import PanopticQuality

    return count_on_ray(cluster, PanopticQuality(categories), files, progress).compute(), None, None
