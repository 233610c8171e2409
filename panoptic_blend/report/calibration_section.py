"""The part of a report about scores: whether they are probabilities, of all things and of each category."""

from __future__ import annotations

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.details import DetailsResult
from panoptic_blend.evaluation.numbers import category_names
from panoptic_blend.report.charts import reliability, small_reliability
from panoptic_blend.report.page import NONE, Markup, element, section, table
from panoptic_blend.report.prediction_tables import category_cell, percent


def calibration_section(details: DetailsResult, categories: Categories) -> Markup:
    """Which share of predicted things matches the truth, by their score."""
    result = details.calibration
    if not result.per_class:
        return section("Scores", element("p", "No predicted thing has a score."))
    rows = [
        [
            f"{each.low:.1f} to {each.high:.1f}",
            f"{each.segments:,}",
            *((percent(each.score), percent(each.precision)) if each.segments else (NONE, NONE)),
        ]
        for each in result.bins
    ]
    caption = "Which share of things with a score matches the truth; stronger bars stand for more things"
    return section(
        "Scores",
        element(
            "div",
            reliability(result.bins, caption),
            table(("score", "things", "mean score", "that match"), rows, "The same as numbers, in percent"),
            class_="columns",
        ),
        element("div", _per_class(details, categories), class_="tall"),
        note=f"On average, scores are {percent(result.error)} percent away from the share of things that match. Bars "
        "above the dashed line: better than their scores say.",
    )


def _per_class(details: DetailsResult, categories: Categories) -> Markup:
    """A row for each category of which things were predicted."""
    names = category_names(categories)
    rows = []
    for category_id, bins in details.calibration.bins_per_class.items():
        things = sum(each.segments for each in bins)
        score, match = (
            sum(each.segments * getattr(each, name) for each in bins) / things for name in ("score", "precision")
        )
        rows.append(
            [
                category_cell(categories.by_id(category_id), names[category_id]),
                small_reliability(bins, names[category_id]),
                f"{things:,}",
                percent(score),
                percent(match),
                f"{100 * (score - match):+.1f}",
                percent(details.calibration.per_class[category_id]),
            ]
        )
    columns = ("category", "match by score", "things", "mean score", "that match", "too sure by", "calibration error")
    return table(columns, rows, "Reliability of each category, in percent", sortable=True)
