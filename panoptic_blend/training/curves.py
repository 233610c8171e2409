"""A run's figures over its steps, as one picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

QUALITIES = ("PQ", "SQ", "RQ")
Row = dict[str, float]


def read_figures(folder: Path) -> list[Row]:
    """What the CSV logger wrote, one row a step, with `step`.

    A resumed run writes a new file. What earlier files say beyond the step that it begins with no longer counts.

    Args:
        folder: with `version_N/metrics.csv`, N = 0, 1...
    """
    rows: dict[float, Row] = {}
    for path in sorted(folder.glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1])):
        with path.open(newline="", encoding="utf-8") as file:
            later = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
        if later:
            rows = {step: row for step, row in rows.items() if step <= later[0]["step"]}
        for row in later:
            rows.setdefault(row["step"], {}).update(row)
    return list(rows.values())


def draw_curves(rows: Sequence[Row]) -> Figure:
    """Losses, panoptic quality and learning rate over optimiser steps, from the rows of `read_figures`."""
    figure = Figure(figsize=(9, 10), layout="constrained")
    losses, quality, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.5))
    terms = sorted({name for row in rows for name in row if name.startswith("loss_")})
    for name in ("loss", *terms):
        style = {"color": "black", "linewidth": 2} if name == "loss" else {"linewidth": 1.2}
        losses.plot(*_curve(rows, name), label=name.removeprefix("loss_"), **style)
    losses.set_ylabel("loss")
    losses.set_yscale("log")
    losses.yaxis.set_major_formatter("{x:g}")  # 0.1 where the default writes 10^-1
    losses.yaxis.set_minor_formatter(LogFormatter())
    for name in QUALITIES:
        quality.plot(*_curve(rows, name), marker="o", markersize=4, label=name)
    quality.set_ylabel("validation (%)")
    quality.set_ylim(0, 100)
    rate.plot(*_curve(rows, "lr"), color="black")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("optimiser step")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    for panel in (losses, quality):
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for panel in (losses, quality, rate):
        panel.grid(alpha=0.3)
    return figure


def _curve(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    points = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in points], [value for _, value in points]
