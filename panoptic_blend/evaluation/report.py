"""Metrics for files and for people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.pq_result import PQResult
from panoptic_blend.files.atomic import atomic_path

if TYPE_CHECKING:  # pycocotools takes time that scoring panoptic maps has no use for
    from panoptic_blend.evaluation.instances import MaskAPResult
    from panoptic_blend.evaluation.semantic import MeanIoUResult


def metrics(pq: PQResult, mask_ap: MaskAPResult | None = None, mean_iou: MeanIoUResult | None = None) -> dict[str, Any]:
    """All numbers as one JSON object, in percent.

    Returns:
        `PQ SQ RQ PQ_th SQ_th RQ_th PQ_st SQ_st RQ_st N`, `per_class` {name: {PQ, SQ, RQ, tp, fp, fn}}, where given
        `mask_ap` and `semantic`, and `notes`. Categories of one name are told apart by their ids.
    """
    result: dict[str, Any] = {}
    for group, suffix in ((pq.all, ""), (pq.things, "_th"), (pq.stuff, "_st")):
        result |= {f"PQ{suffix}": 100 * group.pq, f"SQ{suffix}": 100 * group.sq, f"RQ{suffix}": 100 * group.rq}
    result["N"] = pq.all.n
    names = category_names(Categories([row.category for row in pq.per_class]))
    result["per_class"] = {
        names[row.category.id]: {
            "PQ": 100 * row.pq,
            "SQ": 100 * row.sq,
            "RQ": 100 * row.rq,
            "tp": row.tp,
            "fp": row.fp,
            "fn": row.fn,
        }
        for row in pq.per_class
    }
    notes = list(pq.notes)
    if mask_ap is not None:
        result["mask_ap"] = {key: 100 * value for key, value in _mask_ap_numbers(mask_ap).items()}
        result["mask_ap"]["per_class"] = {names[i]: 100 * value for i, value in mask_ap.per_class.items()}
        notes += [f"mask AP: {note}" for note in mask_ap.notes]
    if mean_iou is not None:
        result["semantic"] = {"mIoU": 100 * mean_iou.miou, "pixel_accuracy": 100 * mean_iou.pixel_accuracy}
        result["semantic"]["per_class"] = {names[i]: 100 * value for i, value in mean_iou.per_class.items()}
        notes += [f"mIoU: {note}" for note in mean_iou.notes]
    return result | {"notes": notes}


def write_metrics(
    path: Path, pq: PQResult, mask_ap: MaskAPResult | None = None, mean_iou: MeanIoUResult | None = None
) -> None:
    """Write what `metrics` returns; the file appears whole or not at all."""
    text = json.dumps(metrics(pq, mask_ap, mean_iou), indent=2, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def print_tables(
    console: Console,
    pq: PQResult,
    mask_ap: MaskAPResult | None = None,
    mean_iou: MeanIoUResult | None = None,
    per_class: bool = True,
) -> None:
    """Print panoptic quality overall and per category, mask AP and mIoU, and what to know about them."""
    console.print(_overall(pq))
    if per_class:
        console.print(_per_class(pq))
    if mask_ap is not None:
        numbers = _mask_ap_numbers(mask_ap)
        console.print("mask AP  " + "  ".join(f"{key} {100 * value:.1f}" for key, value in numbers.items()))
    if mean_iou is not None:
        console.print(f"semantic  mIoU {100 * mean_iou.miou:.1f}  pixel accuracy {100 * mean_iou.pixel_accuracy:.1f}")
    for note in metrics(pq, mask_ap, mean_iou)["notes"]:
        console.print(f"Note: {escape(note)}.")


def category_names(categories: Categories) -> dict[int, str]:
    """A name of its own for every category id: categories that share a name get their id added."""
    names = {c.id: c.name for c in categories}
    # An addition may hit another category's real name, hence again until all differ.
    while any(count > 1 for count in Counter(names.values()).values()):
        times = Counter(names.values())
        names = {i: f"{name} ({i})" if times[name] > 1 else name for i, name in names.items()}
    return names


def _mask_ap_numbers(result: MaskAPResult) -> dict[str, float]:
    """COCO's names of the numbers."""
    return {
        "AP": result.ap,
        "AP50": result.ap50,
        "AP75": result.ap75,
        "APs": result.ap_small,
        "APm": result.ap_medium,
        "APl": result.ap_large,
    }


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
