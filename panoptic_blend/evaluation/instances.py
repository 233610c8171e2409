"""Mask average precision as COCO defines it, without keeping masks."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.categories import Categories
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.metric import State

MAX_DETECTIONS = 100
"""Of a category and an image, the best."""
_NO_DETECTIONS = np.zeros((0, 10), bool)


@dataclass(frozen=True)
class MaskAPResult:
    """AP (IoU 0.50 to 0.95), AP50, AP75, and AP of small, medium and large objects, in 0..1.

    A number without any object in the truth is 0, and noted.

    Attributes:
        per_class: {category id: AP} of the things that occur in the truth.
        notes: what a reader of the numbers must know.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    per_class: Mapping[int, float]
    notes: tuple[str, ...] = ()


class MaskAP:
    """pycocotools' mask AP, image by image: masks are matched at once, only matches and scores are kept.

    The truth is the thing segments of panoptic maps; crowd segments are COCO's crowd.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self._images: dict[int | str, dict[tuple[int, int], Any]] = {}

    def update(self, pair: ImagePair) -> None:
        """Match the detections of one image, the best 100 per category; an image given twice counts once.

        Raises:
            DatasetError: the image comes without detections.
        """
        image, truth, detections = coco_rows(pair, self.categories)
        present = sorted({row["category_id"] for row in truth + detections})
        evaluation = _evaluation()
        with redirect_stdout(io.StringIO()):
            evaluation.cocoGt = _coco(image, truth)
            evaluation.cocoDt = _coco(image, detections)
            evaluation.params.imgIds = [1]
            evaluation.params.catIds = present
            evaluation.evaluate()
        sizes = len(evaluation.params.areaRng)
        self._images[pair.image_id] = {
            (label, size): _slim(evaluation.evalImgs[position * sizes + size])
            for position, label in enumerate(present)
            for size in range(sizes)
        }

    def merge(self, other: MaskAP) -> None:
        """Add the images of another one."""
        self._images |= other._images

    def state(self) -> dict[str, npt.NDArray]:
        """Everything kept so far, one row for each image, category and size range of objects (an entry).

        Returns:
            `image_ids` [I] JSON texts; for every entry its `image` (position among the ids), `label`, `size`, and
            the number of its `detections` and `truths`; one after the other, all entries' `scores` [D],
            `matched` and `ignored` [D, 10] at each IoU threshold, and `truths_ignored` [T].
        """
        keys = [(image, *key) for image, entries in enumerate(self._images.values()) for key in entries]
        kept = [entry for entries in self._images.values() for entry in entries.values()]
        image, label, size = np.array(keys, np.int64).reshape(-1, 3).T
        return {
            "image_ids": np.array([json.dumps(image_id) for image_id in self._images], np.str_),
            "image": image,
            "label": label,
            "size": size,
            "detections": np.array([len(entry["dtScores"]) for entry in kept], np.int64),
            "truths": np.array([len(entry["gtIgnore"]) for entry in kept], np.int64),
            "scores": np.concatenate([np.zeros(0), *(entry["dtScores"] for entry in kept)]),
            "matched": np.concatenate([_NO_DETECTIONS, *(entry["dtMatches"].T for entry in kept)]),
            "ignored": np.concatenate([_NO_DETECTIONS, *(entry["dtIgnore"].T for entry in kept)]),
            "truths_ignored": np.concatenate([np.zeros(0, bool), *(entry["gtIgnore"] for entry in kept)]),
        }

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        image_ids = [json.loads(text) for text in state["image_ids"].tolist()]
        self._images = {image_id: {} for image_id in image_ids}
        detections, truths = (np.cumsum(state[name])[:-1] for name in ("detections", "truths"))
        columns = zip(
            *(state[name].tolist() for name in ("image", "label", "size")),
            *(np.split(state[name], detections) for name in ("scores", "matched", "ignored")),
            np.split(state["truths_ignored"], truths),
            strict=False,  # splitting nothing gives one empty part
        )
        for image, label, size, scores, matched, ignored, truths_ignored in columns:
            self._images[image_ids[image]][label, size] = {
                "dtScores": scores.copy(),
                "dtMatches": matched.T.copy(),
                "dtIgnore": ignored.T.copy(),
                "gtIgnore": truths_ignored.copy(),
            }

    def compute(self) -> MaskAPResult:
        """Mask AP of all images so far."""
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
        return summarize_precision(evaluation.eval["precision"], self.categories)


def coco_rows(
    pair: ImagePair, categories: Categories
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """An image, the true things on it and its detections as COCO's rows; categories by their labels.

    Raises:
        DatasetError: the image comes without detections.
    """
    if pair.detections is None:
        raise DatasetError(f"{pair.source}: mask AP needs the detections of the image. Give them, or leave it out.")
    height, width = pair.truth_ids.shape
    columns_first = np.asfortranarray(pair.truth_ids)  # the order of run-length masks
    truth: list[dict[str, Any]] = []
    for segment in pair.truth_segments:
        if categories.by_id(segment.category_id).is_thing:
            rle = coco_mask.encode((columns_first == segment.id).view(np.uint8))
            label = categories.thing_label(segment.category_id)
            truth.append(_row(len(truth) + 1, label, rle, segment.is_crowd))
    found = pair.detections
    detections = [
        {**_row(number, int(label), rle, False), "score": float(score)}
        for number, (score, label, rle) in enumerate(zip(found.scores, found.labels, found.rles, strict=True), start=1)
    ]
    return {"id": 1, "height": height, "width": width}, truth, detections


def _row(number: int, label: int, rle: Mapping[str, Any], is_crowd: bool) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 1,
        "category_id": label,
        "segmentation": rle,
        "area": int(coco_mask.area(rle)),
        "iscrowd": int(is_crowd),
    }


def summarize_precision(precision: npt.NDArray[np.float64], categories: Categories) -> MaskAPResult:
    """COCO's averages of a table of precision.

    Args:
        precision: [IoU threshold 0.50 to 0.95, recall, thing, size, 1]; -1 where the truth has no such object. Sizes
            are all, small, medium, large.
    """
    views = {
        "AP": precision[:, :, :, 0],
        "AP50": precision[0, :, :, 0],
        "AP75": precision[5, :, :, 0],
        "APs": precision[:, :, :, 1],
        "APm": precision[:, :, :, 2],
        "APl": precision[:, :, :, 3],
    }
    absent = [name for name, values in views.items() if not (values > -1).any()]
    per_class = {
        category.id: _mean(precision[:, :, label, 0])
        for label, category in enumerate(categories.things)
        if (precision[:, :, label, 0] > -1).any()
    }
    return MaskAPResult(
        ap=_mean(views["AP"]),
        ap50=_mean(views["AP50"]),
        ap75=_mean(views["AP75"]),
        ap_small=_mean(views["APs"]),
        ap_medium=_mean(views["APm"]),
        ap_large=_mean(views["APl"]),
        per_class=per_class,
        notes=(f"the truth has no object for {', '.join(absent)}: 0",) if absent else (),
    )


def _evaluation() -> COCOeval:
    evaluation = COCOeval(iouType="segm")
    evaluation.params.maxDets = [MAX_DETECTIONS]
    return evaluation


def _coco(image: dict[str, int], rows: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": [image], "annotations": rows, "categories": []}
    coco.createIndex()
    return coco


def _slim(result: dict[str, Any]) -> dict[str, Any]:
    """What accumulation needs of one image, category and size range, matches as booleans."""
    return {
        "dtScores": np.array(result["dtScores"], np.float64),
        "dtMatches": np.asarray(result["dtMatches"]) != 0,
        "dtIgnore": np.asarray(result["dtIgnore"], bool),
        "gtIgnore": np.asarray(result["gtIgnore"], bool),
    }


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else 0.0
