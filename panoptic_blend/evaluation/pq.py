"""Panoptic quality (Kirillov et al., Panoptic Segmentation, 2019, sec. 4), equal to panopticapi's number for number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.evaluation.agreement import fingerprint, is_checked, remember
from panoptic_blend.evaluation.hotcoco_engine import has_hotcoco, score_with_hotcoco
from panoptic_blend.evaluation.image_pair import ImagePair, category_positions
from panoptic_blend.evaluation.matching import Matching
from panoptic_blend.evaluation.metric import Sums
from panoptic_blend.evaluation.panopticapi_engine import score_with_panopticapi
from panoptic_blend.evaluation.pq_result import PQResult, summarize
from panoptic_blend.evaluation.scored_files import ScoredFiles, count
from panoptic_blend.processes import available_cores

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
        self.add_matching(pair.matching, pair.source)

    def add_matching(self, matching: Matching, source: str) -> None:
        """Add what matches in one image, which error messages call `source`."""
        truth_category = category_positions(matching.truth, self.categories, source)
        predicted_category = category_positions(matching.predicted, self.categories, source)
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
    files = ScoredFiles.open(ground_truth_json, predictions_json, segments, predicted_segments)
    truth, folder = files.truth, files.folder
    workers = workers or available_cores()
    places = truth, files.predictions, folder, files.predicted_folder
    if engine == "panopticapi":
        return score_with_panopticapi(*places)
    if engine == "hotcoco":
        return score_with_hotcoco(*places, workers, progress)
    if engine == "builtin" or not has_hotcoco():
        return count(PanopticQuality(truth.categories), files, workers, progress).compute()
    # The fast engine where both must agree; where it refuses, the other says better what is wrong.
    found = fingerprint(truth, folder)
    if is_checked(truth, found):
        with suppress(DatasetError):
            return score_with_hotcoco(*places, workers, progress)
    quality = count(PanopticQuality(truth.categories), files, workers, progress)
    if found and not quality.state()["wrong_areas"][0] and fingerprint(truth, folder) == found:
        remember(truth, found)
    return quality.compute()
