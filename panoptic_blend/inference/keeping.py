"""Predict many images and keep every result: one image that fails stops none of the others, nor does a later run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bar

from panoptic_blend.coco.images import EvaluationSample
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.coco.progress import Kept
from panoptic_blend.errors import DatasetError, out_of_memory
from panoptic_blend.inference.going_on import FAILURES, describe_file, explain_failure, go_on
from panoptic_blend.inference.pipeline import in_batches, read_ahead, write_behind
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.sources import Samples
from panoptic_blend.structures import IdMap, PanopticMap, Segment


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
    begin: Callable[[PredictionWriter], object] = lambda writer: None,
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
        begin: is given the writer, with what earlier runs left, before anything is predicted.

    Raises:
        DatasetError: the folder holds predictions of other images, or made with another model or other settings.
    """
    failures: list[str] = []
    made_with = {"command": command, **predictor.engine.made_with(), **made_with}
    with go_on(output, source, console, predictor.categories, made_with, overwrite, again) as to_do:
        writer = to_do.writer
        begin(writer)
        earlier = writer.progress.kept.at_this_moment()

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
            except FAILURES as error:
                failures.append(explain_failure(error, record.file_name, (record.height, record.width)))

        with closing(_predict(predictor, source, to_do.wanted, read, console, failures, batch)) as predicted:
            write_behind(predicted, write, max(predictor.reads_ahead, batch))
    return WritingResult(len(source), len(writer.progress.kept), to_do.earlier, failures)


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
                except FAILURES as error:
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
