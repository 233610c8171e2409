"""The official implementation of panoptic quality, as a cross-check of ours."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.segments_png import check_decodable, read_png_size
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.pq_result import PQResult, summarize


def score_with_panopticapi(
    truth: PanopticAnnotations, predictions: PanopticAnnotations, folder: Path, predicted_folder: Path
) -> PQResult:
    """Let panopticapi count, and average its counts.

    Its own `pq_compute` keeps true and false positives to itself and divides by zero when a group has no category
    present, so the counting underneath it is called.

    Raises:
        DatasetError: panopticapi is not installed, or refuses the files.
    """
    try:
        from panopticapi.evaluation import pq_compute_multi_core
    except ImportError:
        raise DatasetError(
            "engine 'panopticapi' needs the panopticapi package: pip install --no-deps panopticapi-lite"
        ) from None
    if any(segment.area < 0 for record in truth for segment in record.segments):
        raise DatasetError(f"{truth.path}: panopticapi needs the 'area' of every segment. Add it, or score without.")
    for records, where in ((truth, folder), (predictions, predicted_folder)):
        for record in records:
            path = where / record.segments_file_name
            check_decodable(path, read_png_size(path))
    pairs = [(_as_json(true), _as_json(predicted)) for true, predicted in zip(truth, predictions, strict=True)]
    categories = {category.id: {"isthing": int(category.is_thing)} for category in truth.categories}
    try:
        with redirect_stdout(io.StringIO()):
            stat = pq_compute_multi_core(pairs, str(folder), str(predicted_folder), categories)
    except TypeError as error:  # it takes palette indices for ids
        raise DatasetError(
            f"{predictions.path}: panopticapi reads no id maps with a palette. Save them as RGB, or score without it."
        ) from error
    except (KeyError, ValueError, OSError) as error:
        raise DatasetError(f"{predictions.path}: panopticapi refuses it: {error}") from error
    counts = [stat[category.id] for category in truth.categories]
    return summarize(
        truth.categories,
        np.array([c.iou for c in counts], np.float64),
        np.array([c.tp for c in counts], np.int64),
        np.array([c.fp for c in counts], np.int64),
        np.array([c.fn for c in counts], np.int64),
        ["counted by panopticapi"],
    )


def _as_json(record: ImageRecord) -> dict[str, object]:
    segments = [
        {"id": s.id, "category_id": s.category_id, "iscrowd": int(s.is_crowd), "area": s.area} for s in record.segments
    ]
    return {"image_id": record.image_id, "file_name": record.segments_file_name, "segments_info": segments}
