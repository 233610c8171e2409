"""Pages: what they are given cannot become HTML."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from panoptic_blend.report.page import ASSETS, NONE, bar, element, table, write_page

HOSTILE = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.texts += [value for _, value in attrs if value]

    def handle_data(self, data):
        self.texts.append(data)


def test_text_and_attributes_are_escaped_and_read_back_unchanged():
    parsed = _Tags()
    parsed.feed(element("p", HOSTILE, element("b", HOSTILE), title=HOSTILE))
    assert parsed.tags == ["p", "b"]
    assert parsed.texts == [HOSTILE] * 3


def test_attributes_without_a_value_and_words_of_python():
    assert element("input", hidden=True, disabled=False, class_="a", aria_label="b") == (
        '<input hidden class="a" aria-label="b">'
    )


def test_columns_of_numbers_stand_on_the_right():
    html = table(("name", "count", "what"), [["a", "1,234", "text"]], "Things")
    assert '<th scope="col" class="number">count</th>' in html
    assert '<td class="number">1,234</td>' in html
    assert '<td class="text">text</td>' in html


def test_a_bar_without_a_largest_value_is_empty():
    assert "width: 0.00%" in bar(0, 0, "0")


def test_a_page_has_its_files_beside_it_and_asks_for_no_other(tmp_path):
    data = {"filters": [], "categories": [{"name": HOSTILE, "color": "red"}], "pictures": []}
    write_page(tmp_path, HOSTILE, [element("p", HOSTILE)], data)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data.js", "index.html", *ASSETS])
    parsed = _Tags()
    parsed.feed((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == 5
    script = (tmp_path / "data.js").read_text(encoding="utf-8")
    assert json.loads(script.removeprefix("const DATA = ").rstrip(";\n")) == data
    for path in tmp_path.iterdir():
        assert "http" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("cell", ["1,234", "0.5", "12.5 %", "+1.5", "-0.1 to +2.0", NONE])
def test_numbers_and_intervals_stand_on_the_right(cell):
    assert f'<td class="number">{cell}</td>' in table(("", ""), [["a", cell]], "")


@pytest.mark.parametrize("cell", ["", "up to 5", "1.2.3.4 to", "3 x 4", "a 1"])
def test_texts_stand_on_the_left(cell):
    assert f'<td class="text">{cell}</td>' in table(("", ""), [["a", cell]], "")


def _luminance(color: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "least"),
    [("ink", 7), ("quiet", 4.5), ("wrong", 4.5), ("good", 4.5), ("look", 4.5), ("bar", 3)],  # bars are no text
)
def test_colours_stand_out_from_both_backgrounds(scheme: str, ink: str, least: float):
    style = (files("panoptic_blend.report") / "page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\);", style)
    colors = {name: light if scheme == "light" else dark for name, light, dark in pairs}
    for background in ("paper", "card"):
        low, high = sorted(_luminance(colors[name]) for name in (ink, background))
        assert (high + 0.05) / (low + 0.05) >= least
