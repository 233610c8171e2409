"""Predictions, scored by all there is: what the parts of their page are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from panoptic_blend.evaluation.details import Details, DetailsResult
from panoptic_blend.evaluation.scored_files import ScoredFiles, count
from panoptic_blend.evaluation.sweep_file import SWEEP, SweptPQ, read_sweep
from panoptic_blend.report.resampling import Resampled, resample


@dataclass(frozen=True)
class Scored:
    """Predictions, scored.

    Attributes:
        name: what the page calls them; "" where there are no others.
        files: truth and predictions.
        details: what all metrics say.
        resampled: how far panoptic quality depends on the images.
        sweep: what other thresholds of the merge would give, where `evaluate --sweep` counted that.
    """

    name: str
    files: ScoredFiles
    details: DetailsResult
    resampled: Resampled
    sweep: SweptPQ | None


def score(
    name: str, files: ScoredFiles, boundary: bool, workers: int, progress: Callable[[int, int], None] | None = None
) -> Scored:
    """Score all images.

    Args:
        boundary: count boundary PQ, too.
        workers: processes.
        progress: called with (images done, images in all).

    Raises:
        DatasetError: files do not hold together.
    """
    categories = files.truth.categories
    beside = files.predictions.path.with_name(SWEEP)
    sweep = read_sweep(beside) if beside.is_file() else None
    details = count(Details(categories, boundary), files, workers, progress)
    per_image = {
        name.removeprefix("per_image."): values
        for name, values in details.state().items()
        if name.startswith("per_image.")
    }
    return Scored(name, files, details.compute(), resample(per_image, categories), sweep)
