"""Panoptic quality (Kirillov et al., Panoptic Segmentation, 2019, sec. 4), equal to panopticapi's number for number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import check_painted_ids, read_sized_id_map
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.evaluation.agreement import fingerprint, is_checked, remember
from panoptic_blend.evaluation.hotcoco_engine import has_hotcoco, score_with_hotcoco
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.metric import Sums, merge_states
from panoptic_blend.evaluation.panopticapi_engine import score_with_panopticapi
from panoptic_blend.evaluation.pq_result import PQResult, summarize
from panoptic_blend.processes import available_cores, in_processes

CHUNK = 32
"""Images that a process scores before it reports."""

Engine = Literal["auto", "builtin", "hotcoco", "panopticapi"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


class PanopticQuality(Sums):
    """Matches segments image by image (see `Matching`) and keeps four numbers per category.

    State: `tp`, `fp`, `fn` int64 [C], `iou` float64 [C], `wrong_areas` int64 [1].
    """

    def __init__(self, categories: Categories):
        tp, fp, fn = (np.zeros(len(categories), np.int64) for _ in range(3))
        iou, wrong_areas = np.zeros(len(categories)), np.zeros(1, np.int64)
        super().__init__(categories, tp=tp, fp=fp, fn=fn, iou=iou, wrong_areas=wrong_areas)

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        matching = pair.matching
        truth_category = category_positions(matching.truth, self.categories, pair.source)
        predicted_category = category_positions(matching.predicted, self.categories, pair.source)
        matched = truth_category[matching.matched_truth]
        # In the order of ids, one after the other, as panopticapi adds them.
        np.add.at(self._sums["iou"], matched, matching.iou)
        np.add.at(self._sums["tp"], matched, 1)
        np.add.at(self._sums["fn"], truth_category[matching.missed], 1)
        np.add.at(self._sums["fp"], predicted_category[matching.surplus], 1)
        self._sums["wrong_areas"] += matching.wrong_areas

    def compute(self) -> PQResult:
        """Panoptic quality of all images so far; defined, and noted, when a group has no category present."""
        notes = []
        wrong_areas = self._sums["wrong_areas"][0]
        if wrong_areas:
            notes.append(
                f"{wrong_areas} true segments have another 'area' in the JSON than pixels in the PNG; the "
                "JSON's was used, as panopticapi does"
            )
        iou, tp, fp, fn = (self._sums[name] for name in ("iou", "tp", "fp", "fn"))
        return summarize(self.categories, iou, tp, fp, fn, notes)


def panoptic_quality(
    ground_truth_json: Path | str,
    predictions_json: Path | str,
    *,
    segments: Path | str | None = None,
    predicted_segments: Path | str | None = None,
    workers: int | None = None,
    engine: Engine = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> PQResult:
    """Score predictions in COCO panoptic format against the truth.

    Args:
        ground_truth_json: COCO panoptic JSON of the truth; every image of it must be predicted.
        predictions_json: COCO panoptic JSON of the predictions; images that the truth lacks are passed over.
        segments: folder of the true id-map PNGs; None takes the JSON's path without `.json`.
        predicted_segments: folder of the predicted id-map PNGs; None as above.
        workers: processes that read and match PNGs, or hotcoco's threads (it keeps the number that it is first used
            with in a process); None takes one per available core.
        engine: "builtin"; "hotcoco" or "panopticapi" let these count, when they are installed; "auto" takes hotcoco
            when it is installed and must count the same as the built-in engine (see `agreement`).
        progress: called with (images done, images in all).

    Raises:
        ConfigError: there is no such engine.
        DatasetError: files are missing or do not hold together, images have no prediction, or an engine is wanted that
            is not installed.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine {engine!r}: choose one of {', '.join(ENGINES)}.")
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
    workers = workers or available_cores()
    places = truth, predictions, folder, predicted_folder
    if engine == "panopticapi":
        return score_with_panopticapi(*places)
    if engine == "hotcoco":
        return score_with_hotcoco(*places, workers, progress)
    if engine == "builtin" or not has_hotcoco():
        return _score(*places, workers, progress).compute()
    # The fast engine where both must agree; where it refuses, the other says better what is wrong.
    found = fingerprint(truth, folder)
    if is_checked(truth, found):
        with suppress(DatasetError):
            return score_with_hotcoco(*places, workers, progress)
    quality = _score(*places, workers, progress)
    if found and not quality.state()["wrong_areas"][0] and fingerprint(truth, folder) == found:
        remember(truth, found)
    return quality.compute()


def _score(
    truth: PanopticAnnotations,
    predictions: PanopticAnnotations,
    folder: Path,
    predicted_folder: Path,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> PanopticQuality:
    # Chunks and their order, hence the sums, do not depend on `workers`.
    chunks = [range(len(truth))[start : start + CHUNK] for start in range(0, len(truth), CHUNK)]
    work = partial(_score_images, truth, predictions, folder, predicted_folder)
    total = PanopticQuality(truth.categories)
    for chunk, state in zip(chunks, in_processes(work, chunks, workers, at_once=1), strict=True):
        merge_states(total, [state])
        if progress is not None:
            progress(chunk.stop, len(truth))
    return total


def _score_images(
    truth: PanopticAnnotations,
    predictions: PanopticAnnotations,
    folder: Path,
    predicted_folder: Path,
    positions: range,
) -> dict[str, npt.NDArray]:
    quality = PanopticQuality(truth.categories)
    for true, predicted in ((truth[position], predictions[position]) for position in positions):
        truth_ids = read_sized_id_map(true, folder, truth.path)
        predicted_ids = read_sized_id_map(predicted, predicted_folder, predictions.path)
        where = f"{predictions.path}: image {predicted.image_id}"
        pair = ImagePair(true.image_id, truth_ids, true.segments, predicted_ids, predicted.segments, source=where)
        # Ids are looked for once, in both maps together.
        painted, predicted_painted = (np.unique(ids) for ids in pair.overlaps[:2])
        check_painted_ids(true, truth_ids, painted, folder, truth.categories, truth.path)
        check_painted_ids(
            predicted, predicted_ids, predicted_painted, predicted_folder, truth.categories, predictions.path
        )
        quality.update(pair)
    return quality.state()
