"""Pictures of numbers, as SVG inside a page: sharp at every size, in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence

from panoptic_blend.report.page import Markup, element

_WIDTH, _HEIGHT, _MARGIN = 360, 240, 40


def reliability(bins: Sequence[tuple[float, float, int, float, float]], caption: str) -> Markup:
    """Bars of precision over score, beside the line on which scores would be probabilities.

    Args:
        bins: low, high, number, mean score and precision of each, in 0..1; bins without any are left out.
        caption: what it shows, for those who do not see it, too.
    """
    most = max((number for _, _, number, _, _ in bins), default=0)
    bars = [
        element(
            "rect",
            element("title", f"scores {low:.1f} to {high:.1f}: {number:,} things, precision {precision:.2f}"),
            x=f"{_x(low) + 1:.1f}",
            y=f"{_y(precision):.1f}",
            width=f"{_x(high) - _x(low) - 2:.1f}",
            height=f"{_y(0) - _y(precision):.1f}",
            class_="bar-fill",
            fill_opacity=f"{0.25 + 0.75 * number / most:.2f}",
        )
        for low, high, number, _, precision in bins
        if number
    ]
    ideal = element("path", d=f"M{_x(0)} {_y(0)} L{_x(1)} {_y(1)}", class_="ideal")
    return _chart([*bars, ideal], caption, "score", "share that matches")


def _chart(shapes: Sequence[Markup], caption: str, across: str, up: str) -> Markup:
    ticks = [
        text
        for value in (0.0, 0.5, 1.0)
        for text in (
            element("text", f"{value:g}", x=f"{_x(value):.1f}", y=_HEIGHT - _MARGIN + 16, text_anchor="middle"),
            element("text", f"{value:g}", x=_MARGIN - 6, y=f"{_y(value) + 4:.1f}", text_anchor="end"),
        )
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
