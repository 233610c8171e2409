"""Truth and predictions on disk: what a metric counts of them, in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import check_painted_ids, read_sized_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.metric import Metric, SomeMetric, State, merge_states
from panoptic_blend.files.bounds import allow_pixels, pixels_asked_for
from panoptic_blend.processes import in_processes

CHUNK = 32
"""Images that a process scores before it reports."""


@dataclass(frozen=True)
class ScoredFiles:
    """Two COCO panoptic JSONs and the folders of their id-map PNGs.

    Attributes:
        predictions: for the images of `truth`, in its order.
        max_pixels: of an id map, in every process that reads; None where `--max-pixels` was not given.
    """

    truth: PanopticAnnotations
    predictions: PanopticAnnotations
    folder: Path
    predicted_folder: Path
    max_pixels: int | None = None

    @staticmethod
    def open(
        ground_truth_json: Path | str,
        predictions_json: Path | str,
        segments: Path | str | None = None,
        predicted_segments: Path | str | None = None,
    ) -> ScoredFiles:
        """Read both JSONs; the folders are by default those that belong to them.

        Raises:
            DatasetError: files are missing or do not hold together, or images have no prediction.
        """
        truth = PanopticAnnotations.load(ground_truth_json)
        if not truth.has_segments:
            raise DatasetError(f"{truth.path}: has no 'annotations' to score against. Give the JSON with the truth.")
        predictions = PanopticAnnotations.load_predictions(predictions_json, truth)
        folder = Path(segments) if segments is not None else truth.default_segments_folder
        predicted_folder = (
            Path(predicted_segments) if predicted_segments is not None else predictions.default_segments_folder
        )
        for path in (folder, predicted_folder):
            if not path.is_dir():
                raise DatasetError(f"{path}: no such folder. Give the folder that holds the id-map PNGs.")
        return ScoredFiles(truth, predictions, folder, predicted_folder, pixels_asked_for())

    def only(self, positions: Sequence[int]) -> ScoredFiles:
        """Some of the images, one at least, in a copy small enough to be sent to a process in another folder."""
        folders = self.folder.absolute(), self.predicted_folder.absolute()
        return ScoredFiles(
            self.truth.only(positions), self.predictions.only(positions), *folders, max_pixels=self.max_pixels
        )

    def read(self, position: int) -> ImagePair:
        """One image, its id maps checked.

        Raises:
            DatasetError: they do not hold together.
        """
        if self.max_pixels is not None and self.max_pixels != pixels_asked_for():  # in a process of its own
            allow_pixels(self.max_pixels)
        truth, predictions = self.truth, self.predictions
        true, predicted = truth[position], predictions[position]
        truth_ids = read_sized_id_map(true, self.folder, truth.path)
        predicted_ids = read_sized_id_map(predicted, self.predicted_folder, predictions.path)
        where = f"{predictions.path}: image {predicted.image_id}"
        pair = ImagePair(
            true.image_id,
            truth_ids,
            true.segments,
            predicted_ids,
            predicted.segments,
            source=where,
            video_id=true.video_id,
            frame_id=true.frame_id,
        )
        # Ids are looked for once, in both maps together.
        painted, predicted_painted = (np.unique(ids) for ids in pair.overlaps[:2])
        check_painted_ids(true, truth_ids, painted, self.folder, truth.categories, truth.path)
        check_painted_ids(
            predicted, predicted_ids, predicted_painted, self.predicted_folder, truth.categories, predictions.path
        )
        return pair


def count(
    metric: SomeMetric, files: ScoredFiles, workers: int, progress: Callable[[int, int], None] | None = None
) -> SomeMetric:
    """Add all images to a metric that has counted none; returns it.

    Args:
        workers: processes.
        progress: called with (images done, images in all).

    Raises:
        DatasetError: what `ScoredFiles.read` and the metric raise.
    """
    chunks = chunks_of(files)
    work = partial(count_chunk, deepcopy(metric), files)
    return add_up(metric, chunks, in_processes(work, chunks, workers, at_once=1), progress)


def chunks_of(files: ScoredFiles) -> list[range]:
    """Positions of images, in chunks that do not depend on who counts them, so that the sums do not either."""
    images = range(len(files.truth))
    return [images[start : start + CHUNK] for start in images[::CHUNK]]


def count_chunk(empty: Metric, files: ScoredFiles, positions: range) -> State:
    """The state of a copy of an empty metric that has counted some of the images."""
    metric = deepcopy(empty)
    for position in positions:
        metric.update(files.read(position))
    return metric.state()


def add_up(
    metric: SomeMetric,
    chunks: Sequence[range],
    states: Iterable[State],
    progress: Callable[[int, int], None] | None,
) -> SomeMetric:
    """Add the states of all chunks to a metric, in their order; returns it.

    Args:
        progress: called with (images done, images in all).
    """
    for chunk, state in zip(chunks, states, strict=True):
        merge_states(metric, [state])
        if progress is not None:
            progress(chunk.stop, chunks[-1].stop)
    return metric
