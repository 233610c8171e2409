"""Score predictions on disk, without torch."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.commands.parsing import Parser, add_segments, command, one_or_more, parse


def make_parser() -> Parser:
    """Options of `panoptic-blend score`."""
    parser = command("score", "Score predictions on disk against the truth: panoptic quality (PQ, SQ, RQ).")
    parser.add_argument("--ground-truth", metavar="JSON", type=Path, required=True, help="COCO panoptic JSON")
    parser.add_argument("--predictions", metavar="JSON", type=Path, required=True, help="COCO panoptic JSON")
    add_segments(parser, "--segments", "ground truth")
    add_segments(parser, "--predicted-segments", "predictions")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the metrics to this JSON file")
    parser.add_argument(
        "--engine",
        choices=["auto", "builtin", "hotcoco", "panopticapi"],
        default="auto",
        help="who counts: 'hotcoco' is faster, 'panopticapi' is the official implementation, where they are installed; "
        "'auto' takes hotcoco when nothing can make it differ from 'builtin' (default: auto)",
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
    return parser


def run(arguments: list[str]) -> None:
    """`panoptic-blend score`."""
    parser = make_parser()
    options = parse(parser, arguments)
    if options.details and options.engine not in ("auto", "builtin"):
        parser.error(f"--engine {options.engine} counts PQ alone: leave it out, or leave --details out")
    if options.video and (options.details or options.engine not in ("auto", "builtin")):
        parser.error("--video counts VPQ and STQ: leave --details and --engine out")
    from rich.console import Console
    from rich.progress import Progress

    from panoptic_blend.evaluation.report import print_tables, write_metrics

    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)
        files = options.ground_truth, options.predictions
        how = {
            "segments": options.segments,
            "predicted_segments": options.predicted_segments,
            "workers": options.workers,
            "progress": lambda done, total: bar.update(task, completed=done, total=total),
        }
        details = films = None
        if options.video:
            from panoptic_blend.evaluation.film_quality import film_quality

            films = film_quality(*files, **how)
            result = films.pq
        elif options.details:
            from panoptic_blend.evaluation.details import panoptic_details

            details = panoptic_details(*files, **how)
            result = details.pq
        else:  # without what only details need, scipy above all
            from panoptic_blend.evaluation.pq import panoptic_quality

            result = panoptic_quality(*files, engine=options.engine, **how)
    if options.output:
        write_metrics(options.output, result, details=details, films=films)
    print_tables(Console(), result, details=details, films=films)
