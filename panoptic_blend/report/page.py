"""Builds a page: HTML that opens from disk, with no network, from elements that escape what they are given."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from panoptic_blend.categories import Category
from panoptic_blend.files.atomic import check_new_folder
from panoptic_blend.files.names import check_category_name

SCRIPTS = ("make.js", "tables.js", "viewer.js", "gallery.js")
ASSETS = ("page.css", *SCRIPTS)
DATA = "data.js"
NONE = "–"
"""Stands in a cell where there is no number."""


def check_page(output: Path, categories: Iterable[Category]) -> None:
    """What would fail after all that the page shows was measured.

    Raises:
        ConfigError: the output folder has something in it already.
        DatasetError: a category's name cannot be written.
    """
    check_new_folder(output)
    for category in categories:
        check_category_name(category.name)


class Markup(str):
    """Text that is HTML already."""


def element(name: str, *children: str, **attributes: str | int | bool) -> Markup:
    """An HTML element; children that are no `Markup` are escaped.

    Args:
        name: of the element.
        children: text or elements.
        attributes: by name, `_` for `-` and a trailing `_` for words of Python (`class_`); True stands alone, False is
            left out.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not False:
            words.append(f'{key}="{html.escape(str(value), quote=True)}"')
    opening = f"<{' '.join(words)}>"
    if name in ("img", "input", "link", "meta", "br"):
        return Markup(opening)
    inside = "".join(child if isinstance(child, Markup) else html.escape(child) for child in children)
    return Markup(f"{opening}{inside}</{name}>")


def section(title: str, *children: str, note: str = "") -> Markup:
    """A part of the page under a heading, with a sentence on how to read it."""
    notes = [element("p", note, class_="note")] if note else []
    return element("section", element("h2", title), *notes, *children)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str, sortable: bool = False) -> Markup:
    """A table; cells that hold numbers stand on the right.

    Args:
        sortable: `tables.js` lets readers sort its rows by a column, and choose rows by a word.
    """
    numbers = [place > 0 and any(_is_number(row[place]) for row in rows) for place in range(len(columns))]
    head = element(
        "tr",
        *(
            element("th", column, scope="col", class_="number" if number else "text")
            for column, number in zip(columns, numbers, strict=True)
        ),
    )
    body = [element("tr", *(_cell(cell, first=place == 0) for place, cell in enumerate(row))) for row in rows]
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", head),
            element("tbody", *body),
            class_="sortable" if sortable else False,
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )


def bar(value: float, largest: float, text: str, color: str = "") -> Markup:
    """A number with a bar as long as its share of the largest."""
    share = 100 * value / largest if largest else 0.0
    style = f"width: {share:.2f}%" + (f"; background: {color}" if color else "")
    return element("span", element("i", style=style), element("b", text), class_="bar")


def histogram(names: Sequence[str], counts: Sequence[int], caption: str) -> Markup:
    """Counts of classes that follow one another, as bars below each other."""
    largest = max(counts, default=0)
    rows = [[name, bar(count, largest, f"{count:,}")] for name, count in zip(names, counts, strict=True)]
    return table(("", "pictures"), rows, caption)


def write_page(folder: Path, title: str, body: Sequence[str], data: object) -> None:
    """Write `index.html`, its style and script, and the data that the script shows.

    Args:
        folder: is there already.
        title: of the page.
        body: its sections.
        data: as JSON can hold it; `data.js` sets it as `DATA`. A page opened from disk may load a script, but no JSON.
    """
    (folder / DATA).write_text(f"const DATA = {json.dumps(data, separators=(',', ':'))};\n", encoding="utf-8")
    for asset in ASSETS:
        text = (files("panoptic_blend.report") / asset).read_text(encoding="utf-8")
        (folder / asset).write_text(text, encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="stylesheet", href="page.css"),
        element("script", src=DATA, defer=True),
        *(element("script", src=script, defer=True) for script in SCRIPTS),
    )
    page = element("html", head, element("body", element("main", element("h1", title), *body)), lang="en")
    (folder / "index.html").write_text(f"<!doctype html>\n{page}\n", encoding="utf-8")


def gallery(*before: str) -> Markup:
    """Where `gallery.js` shows the pictures of the data: `DATA.filters` choose among `DATA.pictures`.

    Args:
        before: what to know of the pictures.
    """
    slider = element("input", type="range", id="opacity", min=0, max=100, value=55)
    return element(
        "section",
        element("h2", "Pictures"),
        *before,
        element(
            "form",
            element("span", id="filters"),
            element("label", "Map over picture ", slider),
            element("output", id="count", aria_live="polite"),
            id="controls",
        ),
        element("div", id="gallery"),
        element("button", "Show more", id="more", type="button", hidden=True),
        element("dialog", id="viewer", aria_labelledby="title"),
    )


def _cell(cell: str, first: bool) -> Markup:
    if first:
        return element("th", cell, scope="row")
    return element("td", cell, class_="number" if _is_number(cell) else "text")


def _is_number(cell: str) -> bool:
    if isinstance(cell, Markup):
        return False
    parts = cell.removesuffix(" %").split(" to ")  # an interval is two of them
    return cell == NONE or all(re.fullmatch(r"[+-]?[\d,]+(\.\d+)?", part) for part in parts)
