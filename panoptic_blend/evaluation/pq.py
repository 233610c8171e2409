"""Panoptic quality (Kirillov et al., Panoptic Segmentation, 2019, sec. 4), equal to panopticapi's number for number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations, SegmentRecord, read_segments
from panoptic_blend.coco.counting import count_pairs
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.evaluation.panopticapi_engine import score_with_panopticapi
from panoptic_blend.evaluation.pq_result import PQResult, summarize
from panoptic_blend.evaluation.processes import available_cores, score_in_processes
from panoptic_blend.structures import IdMap

VOID = 0


class PredictedSegment(Protocol):
    """What scoring needs to know of a predicted segment."""

    @property
    def id(self) -> int:
        """Value of its pixels in the id map."""

    @property
    def category_id(self) -> int:
        """Dataset category id."""


class PanopticQuality:
    """Matches segments image by image and keeps four numbers per category.

    A predicted and a true segment of one category match when their IoU, void pixels of the truth left out, is above
    1/2. Crowd segments are never missed, and a predicted segment that lies by more than half in void or in its
    category's crowd is no false positive.
    """

    def __init__(self, categories: Categories):
        self.categories = categories
        self._order = {category.id: position for position, category in enumerate(categories)}
        self._iou = np.zeros(len(categories))
        self._tp, self._fp, self._fn = (np.zeros(len(categories), np.int64) for _ in range(3))
        self._wrong_areas = np.zeros(1, np.int64)

    def update(
        self,
        truth_ids: IdMap,
        truth_segments: Sequence[SegmentRecord],
        predicted_ids: IdMap,
        predicted_segments: Sequence[PredictedSegment],
        source: str = "prediction",
    ) -> None:
        """Add one image.

        Args:
            truth_ids: [H, W], 0 = void.
            predicted_ids: [H, W], 0 = void.
            source: what error messages call the image.

        Raises:
            DatasetError: sizes differ, an unknown category, or predicted segments and their id map do not list the
                same ids.
        """
        if truth_ids.shape != predicted_ids.shape:
            raise DatasetError(
                f"{source}: the truth is {truth_ids.shape[1]} x {truth_ids.shape[0]}, the prediction "
                f"{predicted_ids.shape[1]} x {predicted_ids.shape[0]} pixels. Predict at the size of the truth."
            )
        truth = sorted(truth_segments, key=lambda segment: segment.id)
        predicted = sorted(predicted_segments, key=lambda segment: segment.id)
        truth_category = self._category_positions(truth, source)
        predicted_category = self._category_positions(predicted, source)
        truth_pair, predicted_pair, pixels = count_pairs(truth_ids, predicted_ids)
        predicted_area = self._predicted_areas(predicted, predicted_pair, pixels, source)
        crowd = np.array([segment.is_crowd for segment in truth], bool)

        # Position of each pair's segments, -1 for void (and, in the truth, for ids nobody lists).
        t = _positions(truth_pair, [segment.id for segment in truth])
        p = _positions(predicted_pair, [segment.id for segment in predicted])
        truth_area = self._truth_areas(truth, t, pixels, source)
        ignored = np.zeros(len(predicted), np.int64)
        in_void = (truth_pair == VOID) & (p >= 0)
        ignored[p[in_void]] = pixels[in_void]

        both = (t >= 0) & (p >= 0)
        t, p, pixels = t[both], p[both], pixels[both]
        same = (truth_category[t] == predicted_category[p]) & ~crowd[t]
        self._check_overlaps(truth, truth_area, t, pixels, source)
        iou = pixels / (truth_area[t] + predicted_area[p] - pixels - ignored[p])
        match = same & (iou > 0.5)
        # In the order of ids, one after the other, as panopticapi adds them.
        np.add.at(self._iou, truth_category[t[match]], iou[match])
        np.add.at(self._tp, truth_category[t[match]], 1)

        missed = ~crowd
        missed[t[match]] = False
        np.add.at(self._fn, truth_category[missed], 1)

        # panopticapi excuses by one crowd segment per category: the last in the file.
        crowd_of = {s.category_id: s.id for s in truth_segments if s.is_crowd}
        last_crowd = np.array([crowd_of.get(s.category_id) == s.id for s in truth], bool)
        excused = last_crowd[t] & (truth_category[t] == predicted_category[p])
        np.add.at(ignored, p[excused], pixels[excused])
        surplus = ignored / predicted_area <= 0.5
        surplus[p[match]] = False
        np.add.at(self._fp, predicted_category[surplus], 1)

    def merge(self, other: PanopticQuality) -> None:
        """Add what another one counted on other images."""
        self.load_state({name: values + other.state()[name] for name, values in self.state().items()})

    def state(self) -> dict[str, npt.NDArray]:
        """Everything counted so far: `tp`, `fp`, `fn` int64 [C], `iou` float64 [C], `wrong_areas` int64 [1]."""
        return {
            "tp": self._tp.copy(),
            "fp": self._fp.copy(),
            "fn": self._fn.copy(),
            "iou": self._iou.copy(),
            "wrong_areas": self._wrong_areas.copy(),
        }

    def load_state(self, state: Mapping[str, npt.NDArray]) -> None:
        """Continue from what `state` returned; sums of states of several processes are fine."""
        self._tp, self._fp, self._fn, self._iou, self._wrong_areas = (
            state[name].copy() for name in ("tp", "fp", "fn", "iou", "wrong_areas")
        )

    def compute(self) -> PQResult:
        """Panoptic quality of all images so far; defined, and noted, when a group has no category present."""
        notes = []
        if self._wrong_areas[0]:
            notes.append(
                f"{self._wrong_areas[0]} true segments have another 'area' in the JSON than pixels in the PNG; the "
                "JSON's was used, as panopticapi does"
            )
        return summarize(self.categories, self._iou, self._tp, self._fp, self._fn, notes)

    def _category_positions(
        self, segments: Sequence[PredictedSegment] | Sequence[SegmentRecord], source: str
    ) -> npt.NDArray[np.int64]:
        for segment in segments:
            if segment.category_id not in self._order:
                raise DatasetError(
                    f"{source}: segment {segment.id} has category_id {segment.category_id}, which the categories of "
                    "the truth do not list. Predict with the truth's categories."
                )
        return np.array([self._order[segment.category_id] for segment in segments], np.int64)

    def _predicted_areas(
        self, segments: Sequence[PredictedSegment], ids: npt.NDArray, pixels: npt.NDArray, source: str
    ) -> npt.NDArray[np.int64]:
        listed = np.array([segment.id for segment in segments], np.int64)
        painted = np.unique(ids[ids != VOID])
        if not np.array_equal(listed, painted):
            only_map = sorted(set(painted.tolist()) - set(listed.tolist()))
            only_list = sorted(set(listed.tolist()) - set(painted.tolist()))
            raise DatasetError(
                f"{source}: predicted segments and id map differ: ids {only_map} are in the map alone, ids {only_list} "
                "in the list alone, and no id may be listed twice. List exactly the ids that have pixels."
            )
        areas = np.zeros(len(listed), np.int64)
        np.add.at(areas, np.searchsorted(listed, ids[ids != VOID]), pixels[ids != VOID])
        return areas

    def _truth_areas(
        self, segments: Sequence[SegmentRecord], positions: npt.NDArray, pixels: npt.NDArray, source: str
    ) -> npt.NDArray[np.int64]:
        counted = np.zeros(len(segments), np.int64)
        np.add.at(counted, positions[positions >= 0], pixels[positions >= 0])
        said = np.array([segment.area for segment in segments], np.int64)
        areas = np.where(said < 0, counted, said)
        self._wrong_areas += int((areas != counted).sum())
        return areas

    @staticmethod
    def _check_overlaps(
        segments: Sequence[SegmentRecord],
        areas: npt.NDArray[np.int64],
        positions: npt.NDArray,
        pixels: npt.NDArray,
        source: str,
    ) -> None:
        wrong = np.flatnonzero(pixels > areas[positions])
        if len(wrong):
            segment = segments[positions[wrong[0]]]
            raise DatasetError(
                f"{source}: true segment {segment.id} has area {segment.area} in the JSON of the truth, yet "
                f"{pixels[wrong[0]]} of its pixels meet one predicted segment. Write its number of pixels, or leave "
                "'area' out."
            )


def panoptic_quality(
    ground_truth_json: Path | str,
    predictions_json: Path | str,
    *,
    segments: Path | str | None = None,
    predicted_segments: Path | str | None = None,
    workers: int | None = None,
    engine: Literal["builtin", "panopticapi"] = "builtin",
    progress: Callable[[int, int], None] | None = None,
) -> PQResult:
    """Score predictions in COCO panoptic format against the truth.

    Args:
        ground_truth_json: COCO panoptic JSON of the truth; every image of it must be predicted.
        predictions_json: COCO panoptic JSON of the predictions; images that the truth lacks are passed over.
        segments: folder of the true id-map PNGs; None takes the JSON's path without `.json`.
        predicted_segments: folder of the predicted id-map PNGs; None as above.
        workers: processes that read and match PNGs; None takes one per available core.
        engine: "panopticapi" lets the official implementation count, when it is installed.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: there is no such engine.
        DatasetError: files are missing or do not hold together, images have no prediction, or panopticapi is wanted
            but not installed.
    """
    if engine not in ("builtin", "panopticapi"):
        raise ConfigError(f"engine {engine!r}: choose 'builtin' or 'panopticapi'.")
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
    if engine == "panopticapi":
        return score_with_panopticapi(truth, predictions, folder, predicted_folder)

    score = partial(_score_images, truth.categories, folder, truth.path, predicted_folder, predictions.path)
    total = PanopticQuality(truth.categories)
    parts = PanopticQuality(truth.categories)
    done = 0
    for images, state in score_in_processes(score, truth, predictions, workers or available_cores()):
        parts.load_state(state)
        total.merge(parts)
        done += images
        if progress is not None:
            progress(done, len(truth))
    return total.compute()


def _score_images(
    categories: Categories,
    folder: Path,
    source: Path,
    predicted_folder: Path,
    predicted_source: Path,
    truth: list[ImageRecord],
    predictions: list[ImageRecord],
) -> dict[str, npt.NDArray]:
    quality = PanopticQuality(categories)
    for true, predicted in zip(truth, predictions, strict=True):
        truth_ids = read_segments(true, folder, categories, source)
        predicted_ids = read_segments(predicted, predicted_folder, categories, predicted_source)
        where = f"{predicted_source}: image {predicted.image_id}"
        quality.update(truth_ids, true.segments, predicted_ids, predicted.segments, where)
    return quality.state()


def _positions(values: npt.NDArray[np.int64], ids: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where each value stands in the ascending list `ids`, -1 if nowhere."""
    if not ids:
        return np.full(len(values), -1, np.int64)
    sorted_ids = np.array(ids, np.int64)
    found = np.minimum(np.searchsorted(sorted_ids, values), len(ids) - 1)
    return np.where(sorted_ids[found] == values, found, -1)
