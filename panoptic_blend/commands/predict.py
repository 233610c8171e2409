"""Predict images without annotations."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from panoptic_blend.commands.opening import open_predictor
from panoptic_blend.commands.parsing import (
    CHECKPOINT_OR_EXPORT,
    Parser,
    add_batch,
    add_checkpoint,
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
""",
    )
    add_checkpoint(parser, CHECKPOINT_OR_EXPORT)
    add_speed(parser, precision="auto")
    add_batch(parser)
    add_tile(parser)
    add_tta(parser)
    add_max_pixels(parser)
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


def _predict_film(options: argparse.Namespace, settings: Sequence[str]) -> None:
    from rich.console import Console

    from panoptic_blend.inference.film_writing import OVERLAY_FILM, write_film
    from panoptic_blend.inference.films import Film

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
        _predict_film(options, settings)
        return
    if options.track or options.frames:
        parser.error("--track and --frames are for films and cameras: give one as --input")
    from rich.console import Console

    from panoptic_blend.coco.annotations import PanopticAnnotations
    from panoptic_blend.coco.images import EvaluationDataset
    from panoptic_blend.coco.predictions import submission_name, write_submission
    from panoptic_blend.inference.sources import ImageFiles, Samples, describe_left_out, find_images
    from panoptic_blend.inference.writing import (
        check_same_meaning,
        result_folders,
        submission_split,
        write_predictions,
    )

    console = Console(markup=False, highlight=False)
    if options.annotations:
        if len(options.input) != 1:
            parser.error("with --annotations, --input is the one folder its images lie in")
        require_folder(Path(options.input[0]))
        if options.coco_submission:  # before hours of predicting
            submission_name(submission_split(options.annotations), options.coco_submission)
        annotations = PanopticAnnotations.load(options.annotations)
    else:
        found = find_images(options.input, result_folders(options.output))
        if found.left_out:
            console.print(f"In the input, {describe_left_out(found.left_out)}", soft_wrap=True)
    predictor = open_predictor(options, settings, "auto", options.tile, options.overlap, tta=options.tta)
    source: Samples
    if options.annotations:
        check_same_meaning(predictor.categories, annotations)
        source = EvaluationDataset(annotations, Path(options.input[0]), segments=None, read=predictor.read)
    else:
        source = ImageFiles(found.files, predictor.read)
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
