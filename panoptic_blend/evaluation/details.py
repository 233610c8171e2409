"""More than one number: everything that panoptic maps are scored by, over one matching per image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.boundary import BoundaryPQ
from panoptic_blend.evaluation.calibration import Calibration, CalibrationResult
from panoptic_blend.evaluation.category_means import CategoryMeans
from panoptic_blend.evaluation.confusion import ConfusionResult, PanopticConfusion
from panoptic_blend.evaluation.covering import ParsingCovering
from panoptic_blend.evaluation.dagger import PQDagger
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.metric import Metric, State
from panoptic_blend.evaluation.per_image import PerImagePQ, PerImagePQResult
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.evaluation.pq_result import PQResult
from panoptic_blend.evaluation.scored_files import ScoredFiles, count
from panoptic_blend.evaluation.sizes import PQBySize, PQBySizeResult
from panoptic_blend.evaluation.thing_errors import ThingErrors, ThingErrorsResult
from panoptic_blend.processes import available_cores


@dataclass(frozen=True)
class DetailsResult:
    """What each metric says of the same images; docs/metrics.md explains them.

    `boundary` is None where it was not counted.
    """

    pq: PQResult
    sizes: PQBySizeResult
    dagger: CategoryMeans
    covering: CategoryMeans
    confusion: ConfusionResult
    per_image: PerImagePQResult
    thing_errors: ThingErrorsResult
    calibration: CalibrationResult
    boundary: PQResult | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know beside the notes of `pq`."""
        titled = {
            "PQ by size": self.sizes.notes,
            "PQ-dagger": self.dagger.notes,
            "parsing covering": self.covering.notes,
            "calibration": self.calibration.notes,
            "boundary PQ": self.boundary.notes if self.boundary else (),
        }
        return tuple(f"{title}: {note}" for title, notes in titled.items() for note in notes)


class Details:
    """Feeds all the metrics that `DetailsResult` lists as if they were one.

    Args:
        boundary: count boundary PQ, too, which takes several times as long as all the others together.
    """

    def __init__(self, categories: Categories, boundary: bool = False):
        self.categories = categories
        self._metrics: dict[str, Metric] = {
            "pq": PanopticQuality(categories),
            "sizes": PQBySize(categories),
            "dagger": PQDagger(categories),
            "covering": ParsingCovering(categories),
            "confusion": PanopticConfusion(categories),
            "per_image": PerImagePQ(categories),
            "thing_errors": ThingErrors(categories),
            "calibration": Calibration(categories),
        }
        if boundary:
            self._metrics["boundary"] = BoundaryPQ(categories)

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        for metric in self._metrics.values():
            metric.update(pair)

    def merge(self, other: Details) -> None:
        """Add what another one counted on other images."""
        for name, metric in self._metrics.items():
            metric.merge(other._metrics[name])

    def state(self) -> dict[str, npt.NDArray]:
        """The states of all metrics, under "metric.name"."""
        return {
            f"{metric}.{name}": values
            for metric, each in self._metrics.items()
            for name, values in each.state().items()
        }

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        for metric, each in self._metrics.items():
            prefix = f"{metric}."
            each.load_state({k.removeprefix(prefix): values for k, values in state.items() if k.startswith(prefix)})

    def compute(self) -> DetailsResult:
        """The results of all images so far."""
        return DetailsResult(**{name: metric.compute() for name, metric in self._metrics.items()})


def panoptic_details(
    ground_truth_json: Path | str,
    predictions_json: Path | str,
    *,
    segments: Path | str | None = None,
    predicted_segments: Path | str | None = None,
    boundary: bool = True,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DetailsResult:
    """Score predictions in COCO panoptic format by all there is, the built-in engine counting.

    Args:
        ground_truth_json: COCO panoptic JSON of the truth; every image of it must be predicted.
        predictions_json: COCO panoptic JSON of the predictions; images that the truth lacks are passed over.
        segments: folder of the true id-map PNGs; None takes the JSON's path without `.json`.
        predicted_segments: folder of the predicted id-map PNGs; None as above.
        boundary: count boundary PQ, too.
        workers: processes; None takes one per available core.
        progress: called with (images done, images in all).

    Raises:
        DatasetError: files are missing or do not hold together, or images have no prediction.
    """
    files = ScoredFiles.open(ground_truth_json, predictions_json, segments, predicted_segments)
    return count(Details(files.truth.categories, boundary), files, workers or available_cores(), progress).compute()
