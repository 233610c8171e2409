"""Predict many images into COCO panoptic files, a few at a time in memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.predictions import FOLDER
from panoptic_blend.coco.progress import Kept
from panoptic_blend.coco.segments_tiff import FOLDER as TIFF_FOLDER
from panoptic_blend.coco.segments_tiff import require_tifffile, tiff_path, write_id_tiff
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.inference.keeping import Result, WritingResult, keep_predictions
from panoptic_blend.inference.overlays import OVERLAY_FOLDER, overlay_path, write_overlay
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.sources import Samples
from panoptic_blend.inference.visualize import draw_overlay, thin_out


def result_folders(output: Path) -> list[Path]:
    """Where `write_predictions` puts images."""
    return [output / FOLDER, output / OVERLAY_FOLDER, output / TIFF_FOLDER]


def write_predictions(
    predictor: Predictor,
    source: Samples,
    output: Path,
    console: Console,
    overlays: bool = False,
    batch: int = 1,
    overwrite: bool = False,
    tiffs: bool = False,
) -> WritingResult:
    """Write `output/predictions.json`, `output/predictions/*.png`, and what is asked for: `overlays/`, `tiffs/`.

    Every image is kept as soon as it is predicted, and one that fails is left out and reported. Called again, this
    predicts the images that are missing.

    Args:
        source: of the samples.
        overlays: write an image with the segments painted over it for every sample.
        batch: neighbours of one input size that are predicted together at most.
        overwrite: predict all images again, and replace what is in `output`.
        tiffs: write every id map as a TIFF of 32-bit integers, too.

    Raises:
        ConfigError: `tiffs`, but tifffile is not installed.
        DatasetError: `output` holds predictions of other images, or made with another model or other settings.
        FolderInUseError: another command is writing there.
    """

    if tiffs:
        require_tifffile()

    def draw(result: Result) -> None:
        tiff, overlay = tiff_path(output, result.kept.png), overlay_path(output, result.kept.png)
        if tiffs and (result.is_new or not tiff.is_file()):
            write_id_tiff(tiff, result.id_map)
        if overlays and (result.is_new or not overlay.is_file()):
            categories = predictor.categories
            write_overlay(
                overlay,
                lambda: draw_overlay(
                    thin_out(result.sample.image), thin_out(result.id_map), result.segments, categories
                ),
            )

    again = partial(lacks_pictures, output, overlays, tiffs)
    with lock_folder(output):
        return keep_predictions(
            predictor, source, output, console, "predict", draw, again, batch=batch, overwrite=overwrite
        )


def lacks_pictures(output: Path, overlays: bool, tiffs: bool, kept: Kept) -> bool:
    """Whether one of the pictures is missing that are asked for beside an image's PNG."""
    lacks_overlay = overlays and not overlay_path(output, kept.png).is_file()
    return lacks_overlay or (tiffs and not tiff_path(output, kept.png).is_file())


def check_same_categories(model: Categories, annotations: Categories, source: Path) -> None:
    """Raise `DatasetError` unless a model and annotations list the same categories: id, name and thing or stuff."""
    differences = model.differences(annotations, "the model", "the file")
    if differences:
        raise DatasetError(
            f"{source}: its categories are not the model's: {differences}. Use annotations of the data set the model "
            "was trained on."
        )


def check_same_meaning(model: Categories, listed: PanopticAnnotations) -> None:
    """Raise `DatasetError` when an image list calls a category's id or name otherwise than the model.

    COCO's image lists name only some of the categories, and not which are stuff; both are fine.
    """
    if not listed.has_categories:
        return
    names = {category.id: category.name for category in listed.categories}
    contradictions = model.contradictions(names, "the file", "the model")
    if contradictions:
        raise DatasetError(
            f"{listed.path}: its categories are not the model's: {contradictions}. Use a model of this data set."
        )


def submission_split(annotations: Path) -> str:
    """COCO's name of the images: `image_info_test-dev2017.json` -> `test-dev2017`."""
    return annotations.stem.removeprefix("image_info_").removeprefix("panoptic_")
