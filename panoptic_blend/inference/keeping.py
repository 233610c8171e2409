"""Predict many images and keep every result: one image that fails stops none of the others, nor does a later run."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bar

from panoptic_blend.coco.images import EvaluationSample
from panoptic_blend.coco.predictions import FOLDER, PredictionWriter
from panoptic_blend.coco.progress import START_OVER, Kept
from panoptic_blend.coco.segments_tiff import tiff_path
from panoptic_blend.errors import DatasetError, out_of_memory
from panoptic_blend.inference.overlays import overlay_path
from panoptic_blend.inference.pipeline import in_batches, read_ahead, write_behind
from panoptic_blend.inference.predictor import Prediction, Predictor
from panoptic_blend.inference.sources import Samples
from panoptic_blend.structures import IdMap, PanopticMap, Segment

_FAILURES = (DatasetError, MemoryError, RuntimeError, OSError)
_ABOUT_A_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL)
"""Errors of the operating system that another image's name would not meet."""


@dataclass(frozen=True)
class WritingResult:
    """How predicting many images went.

    Attributes:
        images: how many there are.
        written: those whose predictions are in the folder.
        earlier: those that an earlier run had predicted.
        failures: what went wrong, with the images' names.
    """

    images: int
    written: int
    earlier: int
    failures: list[str]

    def check(self) -> None:
        """Raise `DatasetError` with all that went wrong, when something did."""
        if self.failures:
            shown = "".join(f"\n  {failure}" for failure in self.failures)
            raise DatasetError(
                f"{len(self.failures)} of {self.images} images failed; the same command tries them again:{shown}"
            )


@dataclass(frozen=True)
class Result:
    """An image and its prediction.

    Attributes:
        index: of the image in its source.
        sample: image, record and, where there is one, truth.
        kept: the prediction's place on disk.
        is_new: predicted now, not in an earlier run.
        extra: what was kept beside id map and segments.
    """

    index: int
    sample: EvaluationSample
    id_map: IdMap
    segments: list[Segment]
    kept: Kept
    is_new: bool
    extra: Any


@dataclass(frozen=True)
class _Job:
    """An image that was read, and what an earlier run made of it."""

    index: int
    sample: EvaluationSample
    image_file: list[int] | None
    kept: Kept | None


def keep_predictions(
    predictor: Predictor,
    source: Samples,
    output: Path,
    console: Console,
    command: str,
    use: Callable[[Result], None],
    again: Callable[[Kept], bool],
    describe: Callable[[Prediction], object] = lambda prediction: None,
    batch: int = 1,
    overwrite: bool = False,
    made_with: Mapping[str, object] = MappingProxyType({}),
    refine: Callable[[Prediction], PanopticMap] = lambda prediction: prediction.panoptic,
) -> WritingResult:
    """Predict what is not in `output/predictions` yet, each image kept as soon as it is predicted.

    Images are read, predicted and written at the same time, in the order of their source.

    Args:
        command: what all this is for; results of another command are not gone on with.
        use: takes every new result, and each of an earlier run that is wanted `again`.
        describe: what to keep of a prediction beside its id map and segments, as JSON can hold it.
        batch: neighbours of one input size that are predicted together at most.
        overwrite: predict all images again, and replace what is in the folder.
        made_with: what earlier results must share beside command, model and settings.
        refine: the map to keep of a prediction; called in the order of the source, between what `use` is given.

    Raises:
        DatasetError: the folder holds predictions of other images, or made with another model or other settings.
    """
    failures: list[str] = []
    made_with = {"command": command, **predictor.engine.made_with(), **made_with}

    def forget(png: str) -> None:
        overlay_path(output, png).unlink(missing_ok=True)
        tiff_path(output, png).unlink(missing_ok=True)

    writer = PredictionWriter(output, predictor.categories, made_with, overwrite, forget)
    earlier: dict[int | str, Kept] = {}

    def read(index: int) -> _Job:
        image_file = describe_file(source.locate(index).path)  # before it is read: a later change is noticed
        sample = source[index]
        return _Job(index, sample, image_file, earlier.get(sample.record.image_id))

    def write(made: tuple[_Job, Prediction | None]) -> None:
        job, prediction = made
        record, kept = job.sample.record, job.kept
        try:
            if kept is not None:
                (id_map, segments), extra = writer.read(kept), writer.progress.read(kept)["extra"]
            else:
                assert prediction is not None
                kept_map, extra = refine(prediction), describe(prediction)
                id_map, segments = kept_map.id_map, kept_map.segments
                kept = writer.write(record, id_map, segments, job.image_file, extra)
            use(Result(job.index, job.sample, id_map, segments, kept, prediction is not None, extra))
        except _FAILURES as error:
            failures.append(explain_failure(error, record.file_name, (record.height, record.width)))

    with writer:
        earlier.update(writer.progress.kept)
        check_images(source, earlier, output)
        locations = map(source.locate, range(len(source)))
        kept_before = (earlier.get(location.image_id) for location in locations)
        wanted = [index for index, kept in enumerate(kept_before) if kept is None or again(kept)]
        try:
            with closing(_predict(predictor, source, wanted, read, console, failures, batch)) as predicted:
                write_behind(predicted, write, max(predictor.reads_ahead, batch))
        except (KeyboardInterrupt, SystemExit):
            told = f"{len(writer.progress.kept)} of {len(source)} images are predicted, see {output / FOLDER}.json."
            console.print(f"Stopped: {told} The same command goes on.", soft_wrap=True, highlight=False, markup=False)
            raise
        finally:
            writer.progress.arrange(source.locate(index).image_id for index in range(len(source)))
    return WritingResult(len(source), len(writer.progress.kept), len(earlier), failures)


def _predict(
    predictor: Predictor,
    source: Samples,
    wanted: Sequence[int],
    read: Callable[[int], _Job],
    console: Console,
    failures: list[str],
    batch: int,
) -> Generator[tuple[_Job, Prediction | None], None, None]:
    """Read (in the background) and predict image after image, with a progress bar; None for those of an earlier run."""
    with Bar(console=console) as bar:
        done = len(source) - len(wanted)
        task = bar.add_task("predicting", total=len(source), completed=done)
        # Of a large picture, each tile counts for its part.
        predictor.watch = lambda part: bar.update(task, completed=done + part)

        def advance() -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done)

        def readable() -> Iterator[_Job]:
            for index, future in read_ahead(wanted, read, max(predictor.reads_ahead, batch)):
                try:
                    job = future.result()
                except _FAILURES as error:
                    failures.append(explain_failure(error, source.locate(index).file_name))
                    advance()
                else:
                    yield job

        def input_size(job: _Job) -> tuple[int, int] | None:
            return None if job.kept else predictor.input_size(job.sample.image)

        for jobs in in_batches(readable(), batch, input_size):
            for job, prediction in _predict_together(predictor, jobs, failures):
                advance()
                yield job, prediction


def _predict_together(
    predictor: Predictor, jobs: Sequence[_Job], failures: list[str]
) -> Iterator[tuple[_Job, Prediction | None]]:
    """Predict images of one input size, one by one when that fails; those that fail even alone are left out."""
    if jobs[0].kept is not None:
        yield from ((job, None) for job in jobs)
        return
    try:
        predictions = predictor.predict_batch([job.sample.image for job in jobs])
    except (DatasetError, MemoryError, RuntimeError) as error:
        if not (isinstance(error, DatasetError) or out_of_memory(error)):
            raise
        if len(jobs) == 1:
            record = jobs[0].sample.record
            why = explain_failure(error, record.file_name, (record.height, record.width))
            # The model was given pixels, and does not know whose.
            failures.append(f"{record.file_name}: {why}" if isinstance(error, DatasetError) else why)
    else:
        yield from zip(jobs, predictions, strict=True)
        return
    # Here the error is gone, and with it what it held in memory.
    predictor.engine.release_memory()
    if len(jobs) > 1:
        for job in jobs:
            yield from _predict_together(predictor, [job], failures)


def explain_failure(error: Exception, file_name: str, size: tuple[int, int] | None = None) -> str:
    """A sentence about what went wrong with one image; raises the error again when it is not about that image alone.

    Args:
        size: (height, width) of the image, where it is known.
    """
    if isinstance(error, DatasetError):
        return str(error)
    if out_of_memory(error):
        pixels = f" ({size[1]} x {size[0]} pixels)" if size else ""
        return (
            f"{file_name}{pixels}: does not fit into memory. Scale it down, or predict at a smaller "
            "--model.input.shortest_edge, which is built into an exported model."
        )
    if isinstance(error, OSError) and error.errno in _ABOUT_A_NAME:
        return f"{file_name}: cannot be written under this name ({error.strerror}). Rename it."
    raise error


def describe_file(path: Path) -> list[int] | None:
    """Size and time of change, which tell versions of a file apart; None when there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def check_images(source: Samples, kept: Mapping[int | str, Kept], output: Path) -> None:
    """Raise `DatasetError` unless the images of an earlier run are among the source's, and have not changed since."""
    left = dict(kept)
    for location in map(source.locate, range(len(source))):
        before = left.pop(location.image_id, None)
        if before is None:
            continue
        if before.file_name != location.file_name:
            problem = f"image {location.image_id} was {before.file_name}, and is {location.file_name} now"
        elif before.image_file != describe_file(location.path):
            problem = f"{location.path} has changed since"
        else:
            continue
        raise DatasetError(f"{output}: holds predictions of other images: {problem}. {START_OVER}")
    if left:
        gone = next(iter(left.values())).file_name
        raise DatasetError(f"{output}: holds predictions of other images: {gone} is not asked for now. {START_OVER}")
