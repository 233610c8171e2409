"""Results of a comparison as Markdown, CSV and a plot."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from panoptic_blend.files.atomic import atomic_path

METRICS = ("PQ", "SQ", "RQ", "PQ_th", "SQ_th", "RQ_th", "PQ_st", "SQ_st", "RQ_st", "AP")
"""Columns: panoptic quality of all, things and stuff, and mask AP; in percent."""


@dataclass(frozen=True)
class Row:
    """One variant's results.

    Attributes:
        variant: its name.
        parameters: of the model.
        latency: milliseconds an image.
        runs: folders of its runs, one a seed.
        metrics: what `metrics.json` holds, one a seed.
    """

    variant: str
    parameters: int
    latency: float
    runs: list[str]
    metrics: list[dict[str, Any]]

    def mean(self, name: str) -> float:
        """Average over seeds of one of `METRICS`."""
        return statistics.fmean(self._values(name))

    def spread(self, name: str) -> float:
        """Standard deviation (of the sample) over seeds; 0 for a single one."""
        values = self._values(name)
        return statistics.stdev(values) if len(values) > 1 else 0.0

    def _values(self, name: str) -> list[float]:
        return [each["mask_ap"]["AP"] if name == "AP" else each[name] for each in self.metrics]


def markdown(title: str, rows: Sequence[Row]) -> str:
    """A titled table, mean ± standard deviation over seeds."""
    head = ["variant", "parameters", "ms / image", *METRICS]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for row in rows:
        several = len(row.metrics) > 1
        name = row.variant.replace("|", "\\|")
        cells = [f"{row.mean(m):.1f}" + (f" ± {row.spread(m):.1f}" if several else "") for m in METRICS]
        lines.append(f"| {' | '.join([name, f'{row.parameters / 1e6:.2f} M', f'{row.latency:.1f}', *cells])} |")
    seeds = max(len(row.metrics) for row in rows)
    note = f"Mean ± standard deviation over {seeds} seeds." if seeds > 1 else "One seed: differences may be chance."
    return "\n".join([*lines, "", f"{note} Times of all variants were taken in turns on one machine.", ""])


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Every number of the table, means and standard deviations in columns of their own."""
    with atomic_path(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        statistic_columns = [f"{metric}_{kind}" for metric in METRICS for kind in ("mean", "std")]
        writer.writerow(["variant", "parameters", "latency_ms", "seeds", *statistic_columns, "runs"])
        for row in rows:
            numbers = [f"{value(metric):.4f}" for metric in METRICS for value in (row.mean, row.spread)]
            plain = [row.variant, row.parameters, f"{row.latency:.3f}", len(row.metrics)]
            writer.writerow([*plain, *numbers, " ".join(row.runs)])


def write_plot(path: Path, title: str, rows: Sequence[Row]) -> None:
    """PQ and mask AP against latency, one point a variant, bars of a standard deviation."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    markers = "osD^vPX*<>"
    for panel, metric, label in zip(panels, ("PQ", "AP"), ("PQ (%)", "mask AP (%)"), strict=True):
        for index, row in enumerate(rows):
            panel.errorbar(
                row.latency,
                row.mean(metric),
                yerr=row.spread(metric) or None,
                marker=markers[index % len(markers)],
                markersize=8,
                capsize=3,
                linestyle="none",
                color=f"C{index % 10}",
                label=row.variant,
            )
        panel.set_xlabel("milliseconds per image")
        panel.set_ylabel(label)
        panel.grid(alpha=0.3)
        panel.margins(0.15)
    figure.suptitle(title)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=150)
