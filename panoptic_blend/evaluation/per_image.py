"""Panoptic quality of every single image: which ones are worst, and how sure the overall number is."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.metric import State
from panoptic_blend.evaluation.pq import PanopticQuality

_COUNTS = "tp", "fp", "fn", "iou"


@dataclass(frozen=True)
class ImagePQ:
    """Panoptic quality of one image, in 0..1: the mean over the `n` categories in its truth or prediction.

    All zero when there is none.
    """

    image_id: int | str
    pq: float
    sq: float
    rq: float
    n: int
    tp: int
    fp: int
    fn: int

    @property
    def worth(self) -> float:
        """What the image counts where images are compared: `pq`, or 1 where there is nothing, as nothing is wrong."""
        return self.pq if self.n else 1.0


@dataclass(frozen=True)
class PerImagePQResult:
    """One row per image, in the order they were given."""

    images: tuple[ImagePQ, ...]
    notes: tuple[str, ...] = ()


class PerImagePQ:
    """Keeps what panoptic quality counts apart for every image.

    The mean over images is not the panoptic quality of all images: there, segments of a category are counted over all
    images first. To draw images again and again (bootstrap), add up rows of `state` for the images drawn.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self._images: dict[int | str, dict[str, npt.NDArray]] = {}

    def update(self, pair: ImagePair) -> None:
        """Add one image; an image given twice counts once.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        quality = PanopticQuality(self.categories)
        quality.update(pair)
        counts = quality.state()
        present = np.flatnonzero(counts["tp"] + counts["fp"] + counts["fn"])
        self._images[pair.image_id] = {"category": present} | {name: counts[name][present] for name in _COUNTS}

    def merge(self, other: PerImagePQ) -> None:
        """Add the images of another one."""
        self._images |= other._images

    def state(self) -> dict[str, npt.NDArray]:
        """Everything kept so far, one row for every image and category that occurs in it.

        Returns:
            `image_ids` [I] JSON texts, and [R] of every row: `image` (position among the ids), `category` (position
            among the categories), `tp`, `fp`, `fn` int64 and `iou` float64, the sum over the true positives.
        """
        kept = list(self._images.values())
        columns = {
            name: np.concatenate([np.zeros(0, float if name == "iou" else np.int64), *(each[name] for each in kept)])
            for name in ("category", *_COUNTS)
        }
        rows = [len(each["category"]) for each in kept]
        return {
            "image_ids": np.array([json.dumps(image_id) for image_id in self._images], np.str_),
            "image": np.repeat(np.arange(len(rows)), rows),
            **columns,
        }

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        image_ids = [json.loads(text) for text in state["image_ids"].tolist()]
        ends = np.searchsorted(state["image"], np.arange(len(image_ids) + 1))
        self._images = {
            image_id: {name: state[name][start:end].copy() for name in ("category", *_COUNTS)}
            for image_id, start, end in zip(image_ids, ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        }

    def compute(self) -> PerImagePQResult:
        """Panoptic quality of every image so far."""
        return PerImagePQResult(tuple(_summarize(image_id, kept) for image_id, kept in self._images.items()))


def _summarize(image_id: int | str, kept: dict[str, npt.NDArray]) -> ImagePQ:
    tp, fp, fn, iou = (kept[name] for name in _COUNTS)
    if len(tp) == 0:
        return ImagePQ(image_id, 0.0, 0.0, 0.0, 0, 0, 0, 0)
    halves = tp + 0.5 * fp + 0.5 * fn
    pq, sq, rq = (float(values.mean()) for values in (iou / halves, iou / np.maximum(tp, 1), tp / halves))
    return ImagePQ(image_id, pq, sq, rq, len(tp), int(tp.sum()), int(fp.sum()), int(fn.sum()))
