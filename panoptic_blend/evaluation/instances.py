"""Mask average precision as COCO defines it, without keeping masks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.structures import IdMap

_MAX_DETECTIONS = 100


class MaskAP:
    """pycocotools' mask AP, image by image: masks are matched at once, only matches and scores are kept.

    The truth is the thing segments of panoptic maps; crowd segments are COCO's crowd.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self._images: dict[int | str, dict[tuple[int, int], Any]] = {}

    def update(
        self,
        truth_ids: IdMap,
        truth_segments: Sequence[SegmentRecord],
        image_id: int | str,
        scores: Sequence[float] | npt.NDArray,
        labels: Sequence[int] | npt.NDArray,
        rles: Sequence[Mapping[str, Any]],
    ) -> None:
        """Match the detections of one image; a second call with an image's id replaces the first.

        Args:
            truth_ids: [H, W].
            scores: [N] confidences; the best 100 per category count.
            labels: [N] contiguous thing labels.
            rles: [N] COCO run-length masks of size (H, W).
        """
        height, width = truth_ids.shape
        truth = [
            self._truth_row(truth_ids, segment, number)
            for number, segment in enumerate(truth_segments, start=1)
            if self.categories.by_id(segment.category_id).is_thing
        ]
        detections = [
            {
                "id": number,
                "image_id": 1,
                "category_id": int(label),
                "score": float(score),
                "segmentation": rle,
                "area": float(coco_mask.area(rle)),
                "iscrowd": 0,
            }
            for number, (score, label, rle) in enumerate(zip(scores, labels, rles, strict=True), start=1)
        ]
        present = sorted({row["category_id"] for row in truth + detections})
        image = {"id": 1, "height": height, "width": width}
        evaluation = _evaluation()
        with redirect_stdout(io.StringIO()):
            evaluation.cocoGt = _coco(image, truth)
            evaluation.cocoDt = _coco(image, detections)
            evaluation.params.imgIds = [1]
            evaluation.params.catIds = present
            evaluation.evaluate()
        sizes = len(evaluation.params.areaRng)
        self._images[image_id] = {
            (label, size): _slim(evaluation.evalImgs[position * sizes + size])
            for position, label in enumerate(present)
            for size in range(sizes)
        }

    def compute(self) -> dict[str, Any]:
        """AP (IoU 0.50 to 0.95), AP50, AP75, and AP of small, medium and large objects, in 0..1.

        Returns:
            `AP AP50 AP75 APs APm APl`, `per_class` {category id: AP} of the things that occur in the truth, and
            `notes`. A number without any object in the truth is 0, and noted.
        """
        evaluation = _evaluation()
        parameters = evaluation.params
        # Numbers before texts, each ascending: the order plain COCOeval takes, which decides between equal scores.
        order = sorted(self._images, key=lambda image_id: (isinstance(image_id, str), image_id))
        parameters.imgIds = list(range(len(order)))
        parameters.catIds = list(range(len(self.categories.things)))
        sizes = len(parameters.areaRng)
        evaluation.evalImgs = [
            self._images[image_id].get((label, size))
            for label in parameters.catIds
            for size in range(sizes)
            for image_id in order
        ]
        # What `evaluate` leaves behind for `accumulate`; the images were evaluated one by one above.
        evaluation._paramsEval = parameters
        with redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        # [IoU threshold, recall, category, size, 1]; -1 where the truth has no such object.
        precision = evaluation.eval["precision"]
        small, medium, large = (parameters.areaRngLbl.index(name) for name in ("small", "medium", "large"))
        views = {
            "AP": precision[:, :, :, 0],
            "AP50": precision[np.isclose(parameters.iouThrs, 0.5), :, :, 0],
            "AP75": precision[np.isclose(parameters.iouThrs, 0.75), :, :, 0],
            "APs": precision[:, :, :, small],
            "APm": precision[:, :, :, medium],
            "APl": precision[:, :, :, large],
        }
        absent = [name for name, values in views.items() if not (values > -1).any()]
        per_class = {
            category.id: _mean(precision[:, :, label, 0])
            for label, category in enumerate(self.categories.things)
            if (precision[:, :, label, 0] > -1).any()
        }
        notes = [f"the truth has no object for {', '.join(absent)}: 0"] if absent else []
        return {**{name: _mean(values) for name, values in views.items()}, "per_class": per_class, "notes": notes}

    def _truth_row(self, truth_ids: IdMap, segment: SegmentRecord, number: int) -> dict[str, Any]:
        mask = truth_ids == segment.id
        return {
            "id": number,
            "image_id": 1,
            "category_id": self.categories.thing_label(segment.category_id),
            "segmentation": coco_mask.encode(np.asfortranarray(mask, np.uint8)),
            "area": int(mask.sum()),
            "iscrowd": int(segment.is_crowd),
        }


def _evaluation() -> COCOeval:
    evaluation = COCOeval(iouType="segm")
    evaluation.params.maxDets = [_MAX_DETECTIONS]
    return evaluation


def _coco(image: dict[str, int], rows: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": [image], "annotations": rows, "categories": []}
    coco.createIndex()
    return coco


def _slim(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """What accumulation needs of one image, category and size range, matches as booleans."""
    if result is None:
        return None
    return {
        "dtScores": np.array(result["dtScores"], np.float64),
        "dtMatches": np.asarray(result["dtMatches"]) != 0,
        "dtIgnore": np.asarray(result["dtIgnore"], bool),
        "gtIgnore": np.asarray(result["gtIgnore"], bool),
    }


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else 0.0
