"""The numbers on the page of `report`: a function for each of its parts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from panoptic_blend.categories import Categories, Category
from panoptic_blend.evaluation.details import DetailsResult
from panoptic_blend.evaluation.numbers import category_names
from panoptic_blend.evaluation.pq_result import PQGroup
from panoptic_blend.evaluation.sizes import LIMITS, SIZES
from panoptic_blend.report.page import NONE, Markup, bar, element, section, table
from panoptic_blend.report.resampling import CONFIDENCE, Floats, Resampled, interval

_MOST_IN_A_MATRIX = 40
"""Categories beyond which nobody could read the table of all pairs."""
_LISTED = 200
"""Confusions that are written out, those of most pixels."""


def percent(value: float) -> str:
    """A share as people read it, without the sign."""
    return NONE if math.isnan(value) else f"{100 * value:.1f}"


def between(values: Floats) -> str:
    """The interval of draws [draws], in percent."""
    low, high = interval(values)
    return NONE if math.isnan(low) else f"{percent(low)} to {percent(high)}"


def category_cell(category: Category, name: str) -> Markup:
    """A category's name behind its colour."""
    return element("span", element("span", class_="swatch", style=f"background: rgb{category.color}"), name)


def headline_section(details: DetailsResult, resampled: Resampled) -> Markup:
    """PQ, SQ and RQ of all, things and stuff, and the other means over categories."""
    columns = ["", "PQ", f"{CONFIDENCE} %", "SQ", f"{CONFIDENCE} %", "RQ", f"{CONFIDENCE} %", "PQ-dagger", "covering"]
    groups = (("All", "all"), ("Things", "things"), ("Stuff", "stuff"))
    rows = []
    for place, (title, name) in enumerate(groups):
        group: PQGroup = getattr(details.pq, name)
        row = [title]
        for number, value in enumerate((group.pq, group.sq, group.rq)):
            row += [percent(value), between(resampled.groups[:, place, number])] if group.n else [NONE, NONE]
        row += [percent(getattr(means, name)) if group.n else NONE for means in (details.dagger, details.covering)]
        rows.append([*row, f"{group.n:,}"])
    return section(
        "In one line",
        table([*columns, "categories"], rows, "Means over categories, in percent"),
        note=f"Beside a number, the {CONFIDENCE} % interval: where it would lie on other images like these.",
    )


def classes_section(details: DetailsResult, resampled: Resampled, categories: Categories) -> Markup:
    """Panoptic quality of every category that occurs."""
    names = category_names(categories)
    has_boundary = details.boundary is not None
    columns = ["category", "kind", "PQ", f"{CONFIDENCE} %", "SQ", "RQ", "found", "extra", "missed"]
    columns += [*(["boundary PQ"] if has_boundary else []), "calibration error"]
    rows = []
    for place, row in enumerate(details.pq.per_class):
        category = row.category
        if row.tp + row.fp + row.fn == 0:
            continue
        cells = [
            category_cell(category, names[category.id]),
            "thing" if category.is_thing else "stuff",
            bar(row.pq, 1.0, percent(row.pq), f"rgb{category.color}"),
            between(resampled.per_class[:, place]),
            percent(row.sq),
            percent(row.rq),
            *(f"{number:,}" for number in (row.tp, row.fp, row.fn)),
        ]
        if details.boundary is not None:
            cells.append(percent(details.boundary.per_class[place].pq))
        rows.append([*cells, percent(details.calibration.per_class.get(category.id, math.nan))])
    absent = len(categories) - len(rows)
    more = f" {absent:,} more are in neither truth nor prediction." if absent else ""
    return section(
        "Categories",
        element(
            "div", table(columns, rows, "Panoptic quality of categories, in percent", sortable=True), class_="tall"
        ),
        note=f"Press a heading to sort.{more}",
    )


def sizes_section(details: DetailsResult) -> Markup:
    """Panoptic quality of small, medium and large segments, and of outlines."""
    small, medium = (math.isqrt(limit) for limit in LIMITS)
    bounds = (f"below {small} x {small} pixels", f"below {medium} x {medium}", "larger")
    results = [(f"{size}: {bound}", getattr(details.sizes, size)) for size, bound in zip(SIZES, bounds, strict=True)]
    if details.boundary is not None:
        results.append(("all, by their outlines (boundary PQ)", details.boundary))
    rows = []
    for title, result in results:
        groups = (result.all, result.things, result.stuff)
        numbers = [percent(group.pq) if group.n else NONE for group in groups]
        counts = [sum(getattr(row, name) for row in result.per_class) for name in ("tp", "fp", "fn")]
        rows.append([title, *numbers, *(f"{count:,}" for count in counts)])
    columns = ("segments", "PQ", "things", "stuff", "found", "extra", "missed")
    return section("Sizes and outlines", table(columns, rows, "Panoptic quality, in percent"))


def thing_errors_section(details: DetailsResult, categories: Categories) -> Markup:
    """What is wrong with things."""
    names = category_names(categories)
    errors = details.thing_errors.errors
    most = max((error.cost for error in errors), default=0.0)
    rows = []
    for error in errors:
        often = sorted(error.per_class, key=lambda i: -error.per_class[i])[:3]
        listed = ", ".join(f"{names[i]} {error.per_class[i]:,}" for i in often)
        cost = bar(max(error.cost, 0.0), most, percent(error.cost))
        rows.append([error.kind.replace("_", " "), f"{error.segments:,}", cost, listed or "none"])
    return section(
        "What is wrong with things",
        table(("error", "segments", "PQ lost", "most often"), rows, "Errors of things"),
        note="PQ lost: by how much the PQ of things would be higher without errors of this kind. These do not add up.",
    )


def confusion_section(details: DetailsResult, categories: Categories) -> Markup:
    """Which category takes which one's pixels and segments."""
    names = category_names(categories)
    rows = details.confusion.rows
    totals: Counter[int | None] = Counter()
    for found in rows:
        totals[found.truth] += found.pixels
    wrong = sorted((f for f in rows if f.truth != f.predicted), key=lambda f: (-f.pixels, -f.segments))
    lines = [
        [
            _name(names, f.truth),
            _name(names, f.predicted),
            f"{f.pixels:,}",
            f"{100 * f.pixels / max(totals[f.truth], 1):.1f}",
            f"{f.segments:,}",
        ]
        for f in wrong[:_LISTED]
    ]
    columns = ("truth", "predicted as", "pixels", "% of the truth's", "segments")
    parts = [element("div", table(columns, lines, "Confusions, most pixels first", sortable=True), class_="tall")]
    present = [c for c in categories if any(c.id in (f.truth, f.predicted) for f in rows)]
    if 1 < len(present) <= _MOST_IN_A_MATRIX:
        parts.append(_matrix(details, present, names, totals))
    return section(
        "Confusions",
        *parts,
        note="Pixels of which category are predicted as which; nothing is void, crowd, or no segment. Segments count "
        "where two overlap by more than half.",
    )


def _matrix(
    details: DetailsResult, present: Sequence[Category], names: Mapping[int, str], totals: Mapping[int | None, int]
) -> Markup:
    pixels = {(found.truth, found.predicted): found.pixels for found in details.confusion.rows}
    columns = [*(category.id for category in present), None]
    rows = []
    for truth in present:
        shares = [100 * pixels.get((truth.id, column), 0) / max(totals[truth.id], 1) for column in columns]
        cells = [element("span", f"{share:.0f}", class_="heat", style=f"--share: {share:.0f}%") for share in shares]
        rows.append([names[truth.id], *cells])
    caption = "Of the pixels of a row's category, the percent that are predicted as a column's"
    return table(["", *(_name(names, column) for column in columns)], rows, caption)


def _name(names: Mapping[int, str], category_id: int | None) -> str:
    return "nothing" if category_id is None else names[category_id]
