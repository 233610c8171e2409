"""Predict many images into COCO panoptic files, a few at a time in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image
from rich.console import Console
from rich.progress import Progress

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.predictions import FOLDER, PredictionWriter
from panoptic_blend.data.dataset import EvaluationSample
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.names import comparison_key
from panoptic_blend.inference.pipeline import in_batches, read_ahead, write_behind
from panoptic_blend.inference.predictor import Prediction, Predictor
from panoptic_blend.inference.sources import Samples

OVERLAY_FOLDER = "overlays"


@dataclass(frozen=True)
class WritingResult:
    """How an export went.

    Attributes:
        written: images predicted.
        unreadable: why each of the others was left out.
    """

    written: int
    unreadable: list[str]


def predict_samples(
    predictor: Predictor,
    source: Samples,
    console: Console,
    unreadable: list[str] | None = None,
    batch: int = 1,
) -> Generator[tuple[EvaluationSample, Prediction], None, None]:
    """Read (in the background) and predict sample after sample, with a progress bar.

    Args:
        source: of the samples.
        batch: neighbours of one input size that are predicted together at most.
        unreadable: takes the errors of samples that cannot be read, which are then left out; None raises them.

    Raises:
        DatasetError: a sample that cannot be read, when `unreadable` is None.
    """
    with Progress(console=console) as bar:
        task = bar.add_task("predicting", total=len(source))

        def readable() -> Iterator[EvaluationSample]:
            for _, future in read_ahead(range(len(source)), source.__getitem__, max(2, batch)):
                try:
                    yield future.result()
                except DatasetError as error:
                    if unreadable is None:
                        raise
                    unreadable.append(str(error))
                    bar.advance(task)

        for samples in in_batches(readable(), batch, lambda sample: predictor.input_size(sample.image)):
            predictions = predictor.predict_batch([sample.image for sample in samples])
            for sample, prediction in zip(samples, predictions, strict=True):
                bar.advance(task)
                yield sample, prediction


def result_folders(output: Path) -> list[Path]:
    """Where `write_predictions` puts images."""
    return [output / FOLDER, output / OVERLAY_FOLDER]


def write_predictions(
    predictor: Predictor,
    source: Samples,
    output: Path,
    console: Console,
    overlays: bool = False,
    batch: int = 1,
) -> WritingResult:
    """Write `output/predictions.json`, `output/predictions/*.png` and, if asked for, `output/overlays/*.jpg`.

    Samples are read, predicted and written at the same time.

    Args:
        source: of the samples; those that cannot be read are left out and reported.
        overlays: write an image with the segments painted over it for every sample.
        batch: neighbours of one input size that are predicted together at most.
    """
    unreadable: list[str] = []
    overlay_folder = OverlayFolder(output / OVERLAY_FOLDER)
    writer = PredictionWriter(output, predictor.model.categories)

    def write(predicted: tuple[EvaluationSample, Prediction]) -> None:
        sample, prediction = predicted
        writer.write(sample.record, prediction.id_map, prediction.segments)
        if overlays:
            overlay_folder.write(sample.record.file_name, prediction.overlay())

    with writer, closing(predict_samples(predictor, source, console, unreadable, batch)) as predicted:
        written = write_behind(predicted, write, max(2, batch))
    return WritingResult(written, unreadable)


class OverlayFolder:
    """Writes overlays as JPEG files named after their image, `a/b.png` -> `a/b.jpg`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._taken: set[str] = set()

    def write(self, file_name: str, image: Image.Image) -> Path:
        """Write one image; when `a.jpg` is taken by another image, `a.png` becomes `a.png.jpg`."""
        name = str(PurePosixPath(file_name).with_suffix(".jpg"))
        if comparison_key(name) in self._taken:
            name = f"{file_name}.jpg"
        self._taken.add(comparison_key(name))
        encoded = BytesIO()  # Pillow would not notice a disk that is full
        image.save(encoded, format="JPEG", quality=92)
        with atomic_path(self.folder / name) as unfinished:
            unfinished.write_bytes(encoded.getvalue())
        return self.folder / name


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
