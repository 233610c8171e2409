"""What a search of thresholds found, as one picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from panoptic_blend.evaluation.sweep_file import SweptPQ

_COLORS = {"before": "#377eb8", "after": "#e6550d"}
_DASHES = {"before": "--", "after": "-"}
"""Where one curve lies on the other, both are seen."""


def draw_tuning(sweep: SweptPQ) -> Figure:
    """PQ over each threshold, with the others as they were before and after; and over the two of things together."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    places = figure.subplots(2, 2)
    figure.suptitle(f"PQ on the {sweep.images:,} images that thresholds were tuned on, where it is too good")
    for place, name in zip(places.flat, sweep.axes, strict=False):
        _draw_curve(place, sweep, name)
    _draw_plane(places.flat[3], sweep)
    return figure


def _draw_curve(place: Axes, sweep: SweptPQ, name: str) -> None:
    """PQ over one threshold. Areas stand side by side, since each is a multiple of the last."""
    values = sweep.axes[name]
    ticks = values if max(values) <= 1 else list(range(len(values)))
    for title, point in (("after", sweep.best), ("before", sweep.own)):
        along = sweep.along(point, name)
        here = ticks[values.index(getattr(point, name))]
        place.plot(ticks, along, _DASHES[title], color=_COLORS[title], label=f"{title}: PQ {sweep.pq[point]:.1f}")
        place.plot([here], [sweep.pq[point]], "o", color=_COLORS[title])
    if ticks != values:
        place.set_xticks(ticks, [f"{value:g}" for value in values])
    place.set_xlabel(name)
    place.set_ylabel("PQ")
    place.grid(alpha=0.3)
    place.legend()


def _draw_plane(place: Axes, sweep: SweptPQ) -> None:
    """PQ over both thresholds of things, with the smallest area of stuff as it is afterwards."""
    scores, overlaps = sweep.axes["min_score"], sweep.axes["max_overlap"]
    plane = np.array(
        [
            [sweep.pq[replace(sweep.best, min_score=score, max_overlap=overlap)] for score in scores]
            for overlap in overlaps
        ]
    )
    drawn = place.imshow(plane, origin="lower", aspect="auto", cmap="viridis")
    for title, point in (("after", sweep.best), ("before", sweep.own)):
        where = scores.index(point.min_score), overlaps.index(point.max_overlap)
        place.plot([where[0]], [where[1]], "o", markersize=9, color=_COLORS[title], markeredgecolor="white")
    step = max(1, len(scores) // 8)
    place.set_xticks(range(0, len(scores), step), [f"{score:g}" for score in scores[::step]])
    place.set_yticks(range(len(overlaps)), [f"{overlap:g}" for overlap in overlaps])
    place.set_xlabel("min_score")
    place.set_ylabel("max_overlap")
    place.figure.colorbar(drawn, ax=place, label="PQ")
