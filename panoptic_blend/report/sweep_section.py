"""The part of a report that shows what other thresholds of the merge would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from panoptic_blend.evaluation.merging import Thresholds
from panoptic_blend.evaluation.sweep_file import SweptPQ
from panoptic_blend.report.charts import Line, curves
from panoptic_blend.report.page import Markup, element, section, table

_AGREE = 0.05
"""Percent up to which PQ of a sweep and of the predictions beside it are the same number."""


def sweep_section(sweep: SweptPQ, scored: float) -> Markup:
    """A curve for each threshold that was changed, and all pairs as numbers.

    Args:
        scored: PQ in percent of the predictions beside the sweep.
    """
    own, best = sweep.own, sweep.best
    axes = sweep.axes
    charts = [_curve(sweep, name, values) for name, values in axes.items() if len(values) > 1]
    gain = sweep.pq[best] - sweep.pq[own]
    if gain < _AGREE:
        verdict = f"None of the {len(sweep.pq):,} combinations that were tried gives more than {_describe(own, axes)}."
    else:
        verdict = (
            f"PQ is {sweep.pq[own]:.1f} with {_describe(own, axes)}. It would be {gain:.1f} higher with "
            f"{_describe(best, axes)}. "
            "The best thresholds for some pictures are a little too good there: judge them on others."
        )
    stale = ""
    if abs(sweep.pq[own] - scored) > _AGREE:
        stale = f" These {sweep.images:,} images gave PQ {sweep.pq[own]:.1f}, so they or their truth were others."
    return section(
        "Other thresholds",
        element("div", *charts, class_="columns"),
        element("details", element("summary", "All pairs as numbers"), _pairs(sweep, axes)),
        note=verdict + stale,
    )


def _curve(sweep: SweptPQ, name: str, values: Sequence[float]) -> Markup:
    """PQ over one threshold: the others as they are, and as they are at the best place."""
    low, high = _bounds([*sweep.along(sweep.best, name), *sweep.along(sweep.own, name)])

    def across(value: float) -> float:
        # Areas double from one to the next, so that they stand side by side.
        return value if max(values) <= 1 else values.index(value) / (len(values) - 1)

    def up(pq: float) -> float:
        return (pq - low) / (high - low)

    lines = []
    for title, style, point in (("best", "second", sweep.best), ("as predicted", "first", sweep.own)):
        here, pq = getattr(point, name), sweep.pq[point]
        others = ", ".join(_say(other, value) for other, value in asdict(point).items() if other != name)
        said = f"{title}: {_say(name, here)}, PQ {pq:.1f}"
        lines.append(
            Line(
                f"{title}: {others}",
                style,
                [(across(value), up(pq)) for value, pq in zip(values, sweep.along(point, name), strict=True)],
                [(across(here), up(pq), said)],
            )
        )
    shown = [values[0], values[len(values) // 2], values[-1]]
    below = [(across(value), f"{value:g}") for value in shown]
    beside = [(up(value), f"{value:g}") for value in (low, (low + high) / 2, high)]
    return curves(lines, f"PQ over {name}", name, "PQ", below, beside)


def _bounds(numbers: Sequence[float]) -> tuple[float, float]:
    """Round numbers around these, at least 2 apart."""
    low, high = 2 * (min(numbers) // 2), -2 * (-max(numbers) // 2)
    return low, max(high, low + 2)


def _pairs(sweep: SweptPQ, axes: dict[str, list[float]]) -> Markup:
    scores, overlaps = axes["min_score"], axes["max_overlap"]
    low, high = _bounds(list(sweep.pq.values()))
    rows = []
    for score in scores:
        cells = []
        for overlap in overlaps:
            pq = sweep.pq[replace(sweep.own, min_score=score, max_overlap=overlap)]
            share = 100 * (pq - low) / (high - low)
            cells.append(element("span", f"{pq:.1f}", class_="heat", style=f"--share: {share:.0f}%"))
        rows.append([f"{score:g}", *cells])
    caption = (
        f"PQ with a row's min_score and a column's max_overlap; {_say('min_stuff_area', sweep.own.min_stuff_area)}"
    )
    return table(["", *(f"{overlap:g}" for overlap in overlaps)], rows, caption)


def _describe(point: Thresholds, axes: dict[str, list[float]]) -> str:
    """The thresholds that were changed."""
    return ", ".join(_say(name, value) for name, value in asdict(point).items() if len(axes[name]) > 1)


def _say(name: str, value: float) -> str:
    return f"{name} {value:g}"
