"""hotcoco's count of panoptic quality: the same numbers in Rust, in threads instead of processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.id_maps import check_size
from panoptic_blend.coco.segments_png import check_decodable, read_png_size
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.pq_result import PQResult, summarize

CHUNK = 256
"""Images that hotcoco is handed at a time: enough for its threads, few enough for memory and for `progress`."""


def has_hotcoco() -> bool:
    """Whether hotcoco is installed."""
    return find_spec("hotcoco") is not None


def score_with_hotcoco(
    truth: PanopticAnnotations,
    predictions: PanopticAnnotations,
    folder: Path,
    predicted_folder: Path,
    threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> PQResult:
    """Let hotcoco count, and average its counts.

    It is given the rows that were read and checked here, never the JSON files. Like panopticapi, it takes the truth's
    id maps on trust: segments of the truth that have no pixels there are missed, and pixels of ids that the truth does
    not list belong to nothing.

    Args:
        threads: hotcoco keeps the number that it is first used with in a process.
        progress: called with (images done, images in all).

    Raises:
        DatasetError: hotcoco is not installed, or refuses the files; an id map is missing, no PNG of 8-bit colours, or
            of another size than its image; a true segment has area 0.
    """
    if not has_hotcoco():
        raise DatasetError("engine 'hotcoco' needs the hotcoco package: pip install 'panoptic-blend[fast]'")
    from hotcoco.panoptic import PanopticEval

    categories = truth.categories
    counts = {name: np.zeros(len(categories), np.int64) for name in ("tp", "fp", "fn")}
    iou = np.zeros(len(categories))
    for start in range(0, len(truth), CHUNK):
        chunk = slice(start, start + CHUNK)
        true, predicted = truth[chunk], predictions[chunk]
        for records, where, source in ((true, folder, truth.path), (predicted, predicted_folder, predictions.path)):
            check_files(records, where, source)
        evaluation = PanopticEval(
            _as_json(true, categories),
            _as_json(predicted, categories),
            gt_folder=folder,
            pred_folder=predicted_folder,
        )
        try:
            with _rayon_threads(threads):
                evaluation.evaluate()
        except (ValueError, OSError) as error:
            raise DatasetError(f"{predictions.path}: hotcoco refuses it: {error}") from error
        for position, row in evaluation.results()["per_class"].items():
            iou[position] += row["iou"]
            for name, values in counts.items():
                values[position] += row[name]
        if progress is not None:
            progress(start + len(true), len(truth))
    return summarize(categories, iou, counts["tp"], counts["fp"], counts["fn"], ["counted by hotcoco"])


def check_files(records: Sequence[ImageRecord], folder: Path, source: Path) -> None:
    """Look at all that can be wrong with the id maps of some images without decoding them.

    Raises:
        DatasetError: see `score_with_hotcoco`.
    """
    for record in records:
        path = folder / record.segments_file_name
        size = read_png_size(path)
        check_size(record, size, path, source)
        check_decodable(path, size)  # which hotcoco does not ask
        for segment in record.segments:
            if segment.area == 0:
                raise DatasetError(
                    f"{source}: image {record.image_id}: segment {segment.id} has area 0. Remove it from segments_info "
                    "or repaint the PNG."
                )


def _as_json(records: Sequence[ImageRecord], categories: Categories) -> dict[str, object]:
    """Some images as hotcoco reads them: images and categories by their positions, since it takes no other ids."""
    annotations = []
    for position, record in enumerate(records):
        segments = [
            {"id": s.id, "category_id": categories.position(s.category_id), "iscrowd": int(s.is_crowd)}
            | ({"area": s.area} if s.area >= 0 else {})
            for s in record.segments
        ]
        annotations.append({"image_id": position, "file_name": record.segments_file_name, "segments_info": segments})
    images = [{"id": i, "file_name": r.file_name, "width": r.width, "height": r.height} for i, r in enumerate(records)]
    names = [{"id": categories.position(c.id), "name": c.name, "isthing": int(c.is_thing)} for c in categories]
    return {"images": images, "annotations": annotations, "categories": names}


@contextmanager
def _rayon_threads(threads: int) -> Iterator[None]:
    """Tell hotcoco's pool of threads, which starts when it is first needed, how many to start."""
    name = "RAYON_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
