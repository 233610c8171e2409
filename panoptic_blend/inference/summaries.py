"""Files that sum up a folder of predictions, and are out of date as soon as there are others."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.evaluation.sweep_file import SWEEP

METRICS = "metrics.json"
OVERLAY_FILM = "overlay.mp4"
TUNING = "tuning"
"""Name of the files that tell how thresholds were tuned, but for their endings. The tuned model is none of them: it is
the one that may be predicting."""


def forget_summaries(output: Path) -> None:
    """Remove what sums up the predictions in a folder."""
    for name in (METRICS, SWEEP, OVERLAY_FILM, f"{TUNING}.json", f"{TUNING}.png", "panoptic_*_results.zip"):
        for path in output.glob(name):
            path.unlink()
