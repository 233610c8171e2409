"""Metrics for files and for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.numbers import category_names, mask_ap_numbers, metrics
from panoptic_blend.evaluation.pq_result import PQResult
from panoptic_blend.files.atomic import atomic_path

if TYPE_CHECKING:  # pycocotools takes time that scoring panoptic maps has no use for
    from panoptic_blend.evaluation.details import DetailsResult
    from panoptic_blend.evaluation.film_quality import FilmResult
    from panoptic_blend.evaluation.instances import MaskAPResult
    from panoptic_blend.evaluation.semantic import MeanIoUResult


def write_metrics(
    path: Path,
    pq: PQResult,
    mask_ap: MaskAPResult | None = None,
    mean_iou: MeanIoUResult | None = None,
    details: DetailsResult | None = None,
    films: FilmResult | None = None,
) -> None:
    """Write what `metrics` returns; the file appears whole or not at all."""
    numbers = metrics(pq, mask_ap, mean_iou, details, films)
    lines = [f"  {json.dumps(key)}: {_as_text(value)}" for key, value in numbers.items()]
    with atomic_path(path) as temporary:
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _as_text(value: Any) -> str:
    """A value of the JSON object, indented; of a list of rows, each on a line of its own."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in value)
        return f"[\n    {rows}\n  ]"
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")


def print_tables(
    console: Console,
    pq: PQResult,
    mask_ap: MaskAPResult | None = None,
    mean_iou: MeanIoUResult | None = None,
    details: DetailsResult | None = None,
    per_class: bool = True,
    films: FilmResult | None = None,
) -> None:
    """Print panoptic quality overall and per category, other overall numbers, and what to know about them."""
    console.print(_overall(pq))
    if per_class:
        console.print(_per_class(pq))
    for title, numbers in _others(mask_ap, mean_iou, details, films).items():
        console.print(f"{title}  " + "  ".join(f"{name} {100 * value:.1f}" for name, value in numbers.items()))
    for note in metrics(pq, mask_ap, mean_iou, details, films)["notes"]:
        console.print(f"Note: {escape(note)}.")


def _others(
    mask_ap: MaskAPResult | None,
    mean_iou: MeanIoUResult | None,
    details: DetailsResult | None,
    films: FilmResult | None,
) -> dict[str, dict[str, float]]:
    """Beside panoptic quality, the overall numbers in 0..1, by what they are and their names."""
    result: dict[str, dict[str, float]] = {}
    if mask_ap is not None:
        result["mask AP"] = mask_ap_numbers(mask_ap)
    if mean_iou is not None:
        result["semantic"] = {"mIoU": mean_iou.miou, "pixel accuracy": mean_iou.pixel_accuracy}
    if details is not None:
        sizes = {name: getattr(details.sizes, name).all for name in ("small", "medium", "large")}
        result["PQ by size"] = {name: group.pq for name, group in sizes.items() if group.n > 0}
        for name, means in (("PQ-dagger", details.dagger), ("parsing covering", details.covering)):
            result[name] = {"all": means.all, "things": means.things, "stuff": means.stuff}
        if details.boundary is not None:
            boundary = details.boundary
            result["boundary PQ"] = {"all": boundary.all.pq, "things": boundary.things.pq, "stuff": boundary.stuff.pq}
        errors = details.thing_errors.errors
        result["PQ of things lost to"] = {e.kind.replace("_", " "): e.cost for e in errors if e.segments > 0}
        if details.calibration.per_class:
            result["calibration of scores"] = {"error": details.calibration.error}
    if films is not None:
        vpq, stq = films.vpq, films.stq
        windows = {f"k = {k}": pq.all.pq for k, pq in vpq.windows.items()}
        result["VPQ"] = {"all": vpq.all, "things": vpq.things, "stuff": vpq.stuff, **windows}
        result["tracking"] = {"STQ": stq.stq, "AQ": stq.aq, "SQ": stq.sq}
    return {title: numbers for title, numbers in result.items() if numbers}


def _overall(pq: PQResult) -> Table:
    table = Table(title="Panoptic quality (%)")
    table.add_column("")
    for name in ("PQ", "SQ", "RQ", "N"):
        table.add_column(name, justify="right")
    for name, group in (("All", pq.all), ("Things", pq.things), ("Stuff", pq.stuff)):
        table.add_row(name, *(f"{100 * v:.1f}" for v in (group.pq, group.sq, group.rq)), str(group.n))
    return table


def _per_class(pq: PQResult) -> Table:
    present = [row for row in pq.per_class if row.tp + row.fp + row.fn]
    absent = len(pq.per_class) - len(present)
    # Of COCO's 133 categories a small set has few; the others have no score.
    caption = f"{absent} more in neither truth nor prediction" if absent else None
    table = Table(title="Per category", caption=caption)
    table.add_column("Category")
    table.add_column("Kind")
    for name in ("PQ", "SQ", "RQ", "TP", "FP", "FN"):
        table.add_column(name, justify="right")
    names = category_names(Categories([row.category for row in pq.per_class]))
    for row in present:
        values = [f"{100 * v:.1f}" for v in (row.pq, row.sq, row.rq)]
        kind = "thing" if row.category.is_thing else "stuff"
        table.add_row(escape(names[row.category.id]), kind, *values, *map(str, (row.tp, row.fp, row.fn)))
    return table
