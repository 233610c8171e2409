"""Predict images without annotations."""

from __future__ import annotations

import argparse
import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_blend.commands.opening import open_predictor, predictor_for_workers
from panoptic_blend.commands.parsing import (
    CHECKPOINT_OR_EXPORT,
    Parser,
    add_batch,
    add_checkpoint,
    add_cluster,
    add_max_pixels,
    add_overwrite,
    add_speed,
    add_tile,
    add_tta,
    command,
    one_or_more,
    parse_with_prediction_settings,
    require_folder,
)
from panoptic_blend.distributed.pool import Cluster

if TYPE_CHECKING:
    from rich.console import Console

    from panoptic_blend.categories import Categories
    from panoptic_blend.inference.keeping import WritingResult
    from panoptic_blend.inference.sources import DivisibleSamples


def make_parser() -> Parser:
    """Options of `panoptic-blend predict`."""
    parser = command(
        "predict",
        "Predict images into COCO panoptic files; no annotations needed.",
        epilog="""\
examples:
  panoptic-blend predict --checkpoint runs/train --input street.jpg --output out --overlays
  panoptic-blend predict --checkpoint runs/train --input 'photos/**/*.jpg' more_photos --output out --batch 8
  panoptic-blend predict --checkpoint runs/train --input street.mp4 --output out --track
  panoptic-blend predict --checkpoint runs/train --input test2017 --annotations image_info_test-dev2017.json \\
      --coco-submission BlendMask --output out
  panoptic-blend predict --checkpoint runs/train --input photos --output out --engine ray --workers 4
""",
    )
    add_checkpoint(parser, CHECKPOINT_OR_EXPORT)
    add_speed(parser, precision="auto")
    add_batch(parser)
    add_tile(parser)
    add_tta(parser)
    add_max_pixels(parser, more="; a TIFF predicted by tiles is not decoded whole")
    parser.add_argument(
        "--input",
        metavar="IMAGE",
        type=os.path.expanduser,
        nargs="+",
        required=True,
        help="images, folders (with all below them), or patterns in quotes; or one film (.mp4 and others), or a camera "
        "(0, camera:0)",
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="gets predictions.json and predictions/*.png"
    )
    add_overwrite(parser)
    parser.add_argument("--overlays", action="store_true", help="also draw every prediction over its image")
    parser.add_argument(
        "--tiff", action="store_true", help="also write every id map as a TIFF of 32-bit integers, into tiffs/"
    )
    parser.add_argument(
        "--engine",
        choices=["here", "ray"],
        default="here",
        help="predict in this process, or on Ray, in many processes of one machine or several (default: here)",
    )
    parser.add_argument("--workers", metavar="N", type=one_or_more, default=1, help="processes on Ray (default: 1)")
    add_cluster(parser)
    parser.add_argument(
        "--track", action="store_true", help="of a film: give things ids that stay with them from frame to frame"
    )
    parser.add_argument(
        "--frames", metavar="N", type=one_or_more, help="of a film or a camera: take the first N frames"
    )
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        type=Path,
        help="a COCO JSON that lists the images to predict in the input folder, and their ids",
    )
    parser.add_argument(
        "--coco-submission",
        metavar="NAME",
        help="also zip the results under this name, as COCO's server takes them; needs --annotations",
    )
    return parser


def _predict_on_ray(
    options: argparse.Namespace,
    settings: Sequence[str],
    source: DivisibleSamples,
    check: Callable[[Categories], None],
    console: Console,
) -> WritingResult:
    from panoptic_blend.distributed.predicting import predict_on_ray

    return predict_on_ray(
        Cluster(options.workers, options.threads, options.ray_address, options.device),
        predictor_for_workers(options, settings, "auto"),
        source,
        options.output,
        console,
        options.overlays,
        options.batch,
        options.overwrite,
        options.tiff,
        check,
    )


def _predict_film(options: argparse.Namespace, settings: Sequence[str]) -> None:
    from rich.console import Console

    from panoptic_blend.inference.film_writing import write_film
    from panoptic_blend.inference.films import Film
    from panoptic_blend.inference.summaries import OVERLAY_FILM

    console = Console(markup=False, highlight=False)
    film = Film(options.input[0], options.frames)
    predictor = open_predictor(options, settings, "auto", options.tile, options.overlap, tta=options.tta)
    result = write_film(
        predictor, film, options.output, console, options.track, options.overlays, options.batch, options.overwrite
    )
    earlier = f", {result.earlier} of them in an earlier run" if result.earlier else ""
    told = f"Predicted {result.written} of {result.images} frames into {options.output}{earlier}"
    console.print(f"{told}. To look at: {options.output / OVERLAY_FILM}", soft_wrap=True)
    result.check()


def run(arguments: list[str]) -> None:
    """`panoptic-blend predict`."""
    parser = make_parser()
    options, settings = parse_with_prediction_settings(parser, arguments)
    if options.engine == "here" and (options.workers > 1 or options.threads > 1 or options.ray_address):
        parser.error("--workers, --threads and --ray-address are Ray's: give --engine ray with them")
    if options.coco_submission and not options.annotations:
        parser.error("--coco-submission needs the image ids: give --annotations image_info_....json")
    from panoptic_blend.inference.films import is_film

    films = [text for text in options.input if is_film(text)]
    if films:
        if len(options.input) > 1:
            parser.error(f"{films[0]} is a film: give one film at a time, and images without it")
        if options.annotations:
            parser.error("--annotations lists images: give the folder they lie in, not a film")
        if options.tiff:
            parser.error("--tiff is for pictures: of a film, PNGs are written")
        if options.engine == "ray":
            parser.error("a film is read from its beginning to its end, by one process: leave --engine ray out")
        _predict_film(options, settings)
        return
    if options.track or options.frames:
        parser.error("--track and --frames are for films and cameras: give one as --input")
    from rich.console import Console

    from panoptic_blend.coco.annotations import PanopticAnnotations
    from panoptic_blend.coco.images import EvaluationDataset
    from panoptic_blend.coco.submission import submission_name, write_submission
    from panoptic_blend.inference.sources import ImageFiles, describe_left_out, find_images
    from panoptic_blend.inference.writing import (
        check_same_meaning,
        result_folders,
        submission_split,
        write_predictions,
    )

    console = Console(markup=False, highlight=False)
    inputs = [_absolute(text) for text in options.input] if options.engine == "ray" else options.input
    source: DivisibleSamples
    annotations = None
    if options.annotations:
        if len(inputs) != 1:
            parser.error("with --annotations, --input is the one folder its images lie in")
        require_folder(Path(inputs[0]))
        if options.coco_submission:  # before hours of predicting
            submission_name(submission_split(options.annotations), options.coco_submission)
        annotations = PanopticAnnotations.load(options.annotations)
        source = EvaluationDataset(annotations, Path(inputs[0]), segments=None)
    else:
        found = find_images(inputs, result_folders(options.output))
        if found.left_out:
            console.print(f"In the input, {describe_left_out(found.left_out)}", soft_wrap=True)
        source = ImageFiles(found.files)

    def check(categories: Categories) -> None:
        if annotations is not None:
            check_same_meaning(categories, annotations)

    if options.engine == "ray":
        result = _predict_on_ray(options, settings, source, check, console)
    else:
        predictor = open_predictor(options, settings, "auto", options.tile, options.overlap, tta=options.tta)
        check(predictor.categories)
        source.read = predictor.read
        result = write_predictions(
            predictor, source, options.output, console, options.overlays, options.batch, options.overwrite, options.tiff
        )
    earlier = f", {result.earlier} of them in an earlier run" if result.earlier else ""
    console.print(f"Predicted {result.written} of {len(source)} images into {options.output}{earlier}", soft_wrap=True)
    result.check()
    if options.coco_submission:
        split = submission_split(options.annotations)
        path = write_submission(options.output, split, options.coco_submission)
        console.print(f"Submission file: {path}", soft_wrap=True)


def _absolute(text: str) -> str:
    """An input for machines with another working folder, whose own name is no pattern."""
    return os.path.abspath(text) if os.path.exists(text) else os.path.join(glob.escape(os.getcwd()), text)
