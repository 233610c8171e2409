"""What panoptic quality amounts to: per category, and averaged over all, things and stuff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories, Category


@dataclass(frozen=True)
class PQClass:
    """Panoptic quality of one category, in 0..1; all zero when it is in neither truth nor prediction."""

    category: Category
    pq: float
    sq: float
    rq: float
    tp: int
    fp: int
    fn: int
    iou: float
    """Sum of IoU over the true positives."""


@dataclass(frozen=True)
class PQGroup:
    """Mean over the `n` categories of a group that occur in truth or prediction, in 0..1; 0 when none does."""

    pq: float
    sq: float
    rq: float
    n: int


@dataclass(frozen=True)
class PQResult:
    """Panoptic quality over all, thing and stuff categories, and one row per category in the data set's order."""

    all: PQGroup
    things: PQGroup
    stuff: PQGroup
    per_class: tuple[PQClass, ...]
    notes: tuple[str, ...] = ()
    """What a reader of the numbers must know, for instance that no stuff was present."""


def summarize(
    categories: Categories,
    iou: npt.NDArray[np.float64],
    tp: npt.NDArray[np.int64],
    fp: npt.NDArray[np.int64],
    fn: npt.NDArray[np.int64],
    notes: Sequence[str] = (),
) -> PQResult:
    """Turn sums per category (arrays [C] in the order of `categories`) into panoptic quality."""
    rows = tuple(
        _row(category, float(iou[i]), int(tp[i]), int(fp[i]), int(fn[i])) for i, category in enumerate(categories)
    )
    groups = {
        "category": _mean(rows),
        "thing": _mean([row for row in rows if row.category.is_thing]),
        "stuff": _mean([row for row in rows if not row.category.is_thing]),
    }
    absent = [f"no {name} is in truth or prediction: its PQ is 0" for name, group in groups.items() if group.n == 0]
    return PQResult(groups["category"], groups["thing"], groups["stuff"], rows, (*notes, *absent))


def _row(category: Category, iou: float, tp: int, fp: int, fn: int) -> PQClass:
    if tp + fp + fn == 0:
        return PQClass(category, 0.0, 0.0, 0.0, 0, 0, 0, 0.0)
    halves = tp + 0.5 * fp + 0.5 * fn
    return PQClass(category, iou / halves, iou / tp if tp else 0.0, tp / halves, tp, fp, fn, iou)


def _mean(rows: Sequence[PQClass]) -> PQGroup:
    present = [row for row in rows if row.tp + row.fp + row.fn > 0]
    n = len(present)
    if n == 0:
        return PQGroup(0.0, 0.0, 0.0, 0)
    return PQGroup(
        sum(row.pq for row in present) / n, sum(row.sq for row in present) / n, sum(row.rq for row in present) / n, n
    )
