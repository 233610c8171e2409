"""Which of several predictions is better, and where: the part of a report that sets them side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.numbers import category_names
from panoptic_blend.report.page import NONE, Markup, element, section, table
from panoptic_blend.report.prediction_scores import Scored
from panoptic_blend.report.prediction_tables import between, category_cell, percent
from panoptic_blend.report.resampling import CONFIDENCE, Floats, interval


def verdicts(scored: Sequence[Scored]) -> list[Markup]:
    """For each prediction after the first, a sentence: is it better than the first?"""
    first = scored[0]
    lines = []
    for other in scored[1:]:
        difference = other.details.pq.all.pq - first.details.pq.all.pq
        draws = other.resampled.groups[:, 0, 0] - first.resampled.groups[:, 0, 0]
        answer = {
            "won": f"{other.name} is better than {first.name}",
            "lost": f"{other.name} is worse than {first.name}",
            "even": f"Whether {other.name} is better than {first.name} is open",
        }[_outcome(draws)]
        sure = f"{CONFIDENCE} %: {_signed_interval(draws)}; better in {100 * share_better(draws):.1f} % of the draws"
        lines.append(element("p", element("strong", answer), f": PQ {_signed(difference)} ({sure}).", class_="verdict"))
    return lines


def overall_section(scored: Sequence[Scored]) -> Markup:
    """PQ, SQ and RQ of each prediction, and its difference from the first."""
    rows = []
    for place, (title, name) in enumerate((("all", "all"), ("things", "things"), ("stuff", "stuff"))):
        for each in scored:
            group = getattr(each.details.pq, name)
            draws = each.resampled.groups[:, place, 0]
            if not group.n:
                continue
            row = [f"{each.name}, {title}", percent(group.pq), between(draws), percent(group.sq), percent(group.rq)]
            if each is scored[0]:
                rows.append([*row, NONE, NONE, NONE])
                continue
            difference = draws - scored[0].resampled.groups[:, place, 0]
            change = _signed(group.pq - getattr(scored[0].details.pq, name).pq)
            rows.append([*row, change, _signed_interval(difference), f"{100 * share_better(difference):.1f}"])
    first = scored[0].name
    columns = ("", "PQ", f"{CONFIDENCE} %", "SQ", "RQ", f"PQ - {first}", f"{CONFIDENCE} %", "% of draws better")
    return section(
        "Side by side",
        table(columns, rows, "Means over categories, in percent"),
        note=f"Differences from {first} are of the same images drawn for both (paired bootstrap), and so surer than "
        "the numbers themselves.",
    )


def classes_comparison_section(scored: Sequence[Scored], categories: Categories) -> Markup:
    """Which categories each prediction wins and loses against the first."""
    names = category_names(categories)
    first = scored[0]
    columns = ["category", "kind", f"PQ {first.name}"]
    for other in scored[1:]:
        columns += [f"PQ {other.name}", f"{other.name} - {first.name}", f"{CONFIDENCE} %", ""]
    rows = []
    totals: list[Counter[str]] = [Counter() for _ in scored]
    for place, category in enumerate(categories):
        quality = [each.details.pq.per_class[place] for each in scored]
        if not any(row.tp + row.fp + row.fn for row in quality):
            continue
        cells = [category_cell(category, names[category.id]), "thing" if category.is_thing else "stuff"]
        cells.append(percent(quality[0].pq))
        for number, other in enumerate(scored[1:], start=1):
            draws = other.resampled.per_class[:, place] - first.resampled.per_class[:, place]
            outcome = _outcome(draws)
            totals[number][outcome] += 1
            change = _signed(quality[number].pq - quality[0].pq)
            style = {"won": "good", "lost": "wrong", "even": "even"}[outcome]
            verdict = element("span", outcome, class_=style)
            cells += [percent(quality[number].pq), change, _signed_interval(draws), verdict]
        rows.append(cells)
    counts = " ".join(
        f"{other.name} wins {total['won']} and loses {total['lost']} of {total.total()} against {first.name}."
        for other, total in zip(scored[1:], totals[1:], strict=True)
    )
    return section(
        "Categories won and lost",
        element(
            "div", table(columns, rows, "Panoptic quality of categories, in percent", sortable=True), class_="tall"
        ),
        note=f"{counts} Even: the interval of the difference has 0 in it. Of twenty equal categories, one is won or "
        "lost by chance.",
    )


def share_better(differences: Floats) -> float:
    """In which share of the draws [draws] the difference is in favour; ties count half, draws without one do not."""
    differences = differences[~np.isnan(differences)]
    return float(np.mean((differences > 0) + 0.5 * (differences == 0))) if len(differences) else math.nan


def _outcome(differences: Floats) -> str:
    """ "won", "lost", or "even" while 0 is among the likely differences."""
    low, high = interval(differences)
    return "won" if low > 0 else "lost" if high < 0 else "even"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


def _signed_interval(differences: Floats) -> str:
    low, high = interval(differences)
    return NONE if math.isnan(low) else f"{_signed(low)} to {_signed(high)}"
