"""Pictures of numbers, as SVG inside a page: sharp at every size, in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from panoptic_blend.evaluation.calibration import CalibrationBin
from panoptic_blend.report.page import Markup, element

_WIDTH, _HEIGHT, _MARGIN = 360, 240, 40
_SMALL_WIDTH, _SMALL_HEIGHT = 100, 40

Ticks = Sequence[tuple[float, str]]
"""Places in 0..1 along an axis, and what is written there."""


@dataclass(frozen=True)
class Line:
    """A curve of a chart.

    Attributes:
        name: what it is.
        style: class of the page's style sheet.
        points: where it goes, both in 0..1.
        marks: points with a dot, and what to say of them.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[tuple[float, float, str]]


def reliability(bins: Sequence[CalibrationBin], caption: str) -> Markup:
    """Bars of precision over score, beside the line on which scores would be probabilities.

    Args:
        bins: those without any things are left out.
        caption: what it shows, for those who do not see it, too.
    """
    most = max((each.segments for each in bins), default=0)
    bars = [
        element(
            "rect",
            element("title", _say(each)),
            x=f"{_x(each.low) + 1:.1f}",
            y=f"{_y(each.precision):.1f}",
            width=f"{_x(each.high) - _x(each.low) - 2:.1f}",
            height=f"{_y(0) - _y(each.precision):.1f}",
            class_="bar-fill",
            fill_opacity=f"{0.25 + 0.75 * each.segments / most:.2f}",
        )
        for each in bins
        if each.segments
    ]
    ideal = element("path", d=f"M{_x(0)} {_y(0)} L{_x(1)} {_y(1)}", class_="ideal")
    return _chart([*bars, ideal], caption, "score", "share that matches", _PLAIN_TICKS, _PLAIN_TICKS)


def small_reliability(bins: Sequence[CalibrationBin], name: str) -> Markup:
    """The same without axes, to stand in a cell of a table."""
    wide, high = _SMALL_WIDTH, _SMALL_HEIGHT
    filled = [each for each in bins if each.segments]
    bars = [
        element(
            "rect",
            element("title", _say(each)),
            x=f"{each.low * wide + 0.5:g}",
            y=f"{(1 - each.precision) * high:.1f}",
            width=f"{(each.high - each.low) * wide - 1:.4g}",
            height=f"{each.precision * high:.1f}",
            class_="bar-fill",
        )
        for each in filled
    ]
    ideal = element("path", d=f"M0 {high} L{wide} 0", class_="ideal")
    label = f"{name}: {'; '.join(map(_say, filled))}"
    return element("svg", *bars, ideal, viewBox=f"0 0 {wide} {high}", role="img", aria_label=label, class_="small")


def curves(lines: Sequence[Line], caption: str, across: str, up: str, below: Ticks, beside: Ticks) -> Markup:
    """Lines over one axis, with a legend.

    Args:
        caption: what they show, for those who do not see them, too.
        across, up: names of the axes.
        below, beside: what is written along them.
    """
    shapes = []
    for line in lines:
        path = " L".join(f"{_x(x):.1f} {_y(y):.1f}" for x, y in line.points)
        shapes.append(element("path", element("title", line.name), d=f"M{path}", class_=f"line {line.style}"))
        shapes += [
            element("circle", element("title", text), cx=f"{_x(x):.1f}", cy=f"{_y(y):.1f}", r=4, class_=line.style)
            for x, y, text in line.marks
        ]
    legend = [element("li", element("i", class_=line.style), line.name) for line in lines]
    chart = _chart(shapes, caption, across, up, below, beside)
    return element("div", chart, element("ul", *legend, class_="legend"))


def _say(each: CalibrationBin) -> str:
    return f"scores {each.low:.1f} to {each.high:.1f}: {each.segments:,} things, precision {each.precision:.2f}"


_PLAIN_TICKS: Ticks = [(0.0, "0"), (0.5, "0.5"), (1.0, "1")]


def _chart(shapes: Sequence[Markup], caption: str, across: str, up: str, below: Ticks, beside: Ticks) -> Markup:
    ticks = [
        *(
            element("text", text, x=f"{_x(x):.1f}", y=_HEIGHT - _MARGIN + 16, text_anchor="middle" if x < 1 else "end")
            for x, text in below
        ),
        *(element("text", text, x=_MARGIN - 6, y=f"{_y(y) + 4:.1f}", text_anchor="end") for y, text in beside),
    ]
    axes = element("path", d=f"M{_x(0)} {_y(1)} V{_y(0)} H{_x(1)}", class_="axis")
    names = [
        element("text", across, x=_WIDTH // 2, y=_HEIGHT - 4, text_anchor="middle"),
        element("text", up, x=4, y=12),
    ]
    svg = element(
        "svg", *shapes, axes, *ticks, *names, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=caption
    )
    return element("figure", svg, element("figcaption", caption), class_="chart")


def _x(value: float) -> float:
    return _MARGIN + value * (_WIDTH - 1.25 * _MARGIN)


def _y(value: float) -> float:
    return _HEIGHT - _MARGIN - value * (_HEIGHT - 1.75 * _MARGIN)
