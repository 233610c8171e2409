"""Films scored: video panoptic quality, and segmentation and tracking quality, of the same frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.film_frames import FilmFrames
from panoptic_blend.evaluation.pq_result import PQResult
from panoptic_blend.evaluation.scored_files import ScoredFiles, count
from panoptic_blend.evaluation.stq import STQResult, segmentation_tracking_quality
from panoptic_blend.evaluation.vpq import VPQResult, video_panoptic_quality
from panoptic_blend.processes import available_cores


@dataclass(frozen=True)
class FilmResult:
    """What both metrics say of the same films; docs/metrics.md explains them.

    Attributes:
        pq: panoptic quality, frame by frame: VPQ with k = 0.
    """

    vpq: VPQResult
    stq: STQResult

    @property
    def pq(self) -> PQResult:
        return self.vpq.windows[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know beside the notes of `pq`."""
        told = self.pq.notes
        return (*(f"VPQ: {note}" for note in self.vpq.notes if note not in told), *self.stq.notes)


class FilmQuality(FilmFrames):
    """`VideoPanopticQuality` and `SegmentationTrackingQuality`, the frames kept once."""

    def compute(self) -> FilmResult:
        """Both results of all frames so far.

        Raises:
            DatasetError: a true segment changes its category.
        """
        films = self.tubes()
        return FilmResult(
            video_panoptic_quality(films, self.categories), segmentation_tracking_quality(films, self.categories)
        )


def film_quality(
    ground_truth_json: Path | str,
    predictions_json: Path | str,
    *,
    segments: Path | str | None = None,
    predicted_segments: Path | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FilmResult:
    """Score predicted films in COCO panoptic format: the truth's images have `video_id` and `frame_id`.

    Args:
        ground_truth_json: COCO panoptic JSON of the truth, in which a segment has the same id in all frames; every
            image of it must be predicted.
        predictions_json: COCO panoptic JSON of the predictions, for the truth's image ids.
        segments: folder of the true id-map PNGs; None takes the JSON's path without `.json`.
        predicted_segments: folder of the predicted id-map PNGs; None as above.
        workers: processes; None takes one per available core.
        progress: called with (images done, images in all).

    Raises:
        DatasetError: files are missing or do not hold together, images have no prediction or are no frames of a film,
            or a true segment changes its category.
    """
    files = ScoredFiles.open(ground_truth_json, predictions_json, segments, predicted_segments)
    check_frames(files.truth)
    return count(FilmQuality(files.truth.categories), files, workers or available_cores(), progress).compute()


def check_frames(truth: PanopticAnnotations) -> None:
    """Raise `DatasetError` unless every image is a frame of a film, and no other image is the same one."""
    seen: dict[tuple[object, object], object] = {}
    for record in truth:
        frame = record.video_id, record.frame_id
        if record.video_id is None or record.frame_id is None:
            raise DatasetError(
                f"{truth.path}: image {record.image_id} has no video_id and frame_id, which say of which film it is "
                "which frame. Write both into every image, or score without --video."
            )
        if frame in seen:
            raise DatasetError(
                f"{truth.path}: images {seen[frame]} and {record.image_id} are both frame {record.frame_id} of film "
                f"{record.video_id!r}. Number the frames of a film."
            )
        seen[frame] = record.image_id
    if not seen:
        raise DatasetError(f"{truth.path}: lists no images, so that there is no film to score.")
