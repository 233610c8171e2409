"""The page of `check-dataset`: what a data set holds, what is odd about it, and the pictures."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.processes import in_processes
from panoptic_blend.report.dataset_facts import SplitFacts
from panoptic_blend.report.findings import Finding
from panoptic_blend.report.measuring import SplitFiles
from panoptic_blend.report.page import Markup, bar, element, gallery, histogram, section, table, write_page
from panoptic_blend.report.pictures import write_map, write_picture
from panoptic_blend.structures import Segment

PICTURES = "pictures"
SIZES = ("small", "medium", "large")
_SIZE_BOUNDS = (32**2, 96**2)
"""Pixels from which on a segment counts as medium and as large (COCO)."""
_LISTED = 100
"""Findings of a kind that are written out; the gallery has all that belong to a picture."""


@dataclass(frozen=True)
class _Picture:
    """One picture of the gallery: which, and the names of its files without their extension."""

    split: int
    image: int
    files: SplitFiles
    record: ImageRecord
    areas: Sequence[int]
    target: Path


def write_dataset_page(
    output: Path,
    splits: Sequence[SplitFacts],
    findings: Sequence[Finding],
    most_pictures: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Write `output/index.html` and its folder of pictures: whole, or not at all.

    Args:
        output: a folder that is missing or empty.
        splits: of one data set.
        findings: about them.
        most_pictures: shown in all; pictures with a finding are shown even beyond that.
        workers: processes.
        progress: called with the number of pictures drawn, and of all.

    Raises:
        ConfigError: the output folder has something in it already.
    """
    with atomic_folder(output) as folder:
        (folder / PICTURES).mkdir()
        by_image: dict[tuple[int, int], list[Finding]] = defaultdict(list)
        for finding in findings:
            if finding.image is not None:
                by_image[finding.split, finding.image].append(finding)
        chosen = _choose(splits, by_image, most_pictures)
        pictures = [
            _picture(splits[split], split, image, folder / PICTURES / f"{number:06d}")
            for number, (split, image) in enumerate(chosen)
        ]
        rows = []
        drawn_pictures = in_processes(partial(_draw, splits[0].categories), pictures, workers)
        for number, (picture, drawn) in enumerate(zip(pictures, drawn_pictures, strict=True), start=1):
            rows.append(_gallery_row(picture, drawn, splits, by_image[picture.split, picture.image]))
            progress(number, len(pictures))
        data = {
            "filters": _filters(splits),
            "orders": [],
            "categories": [
                {"name": category.name, "color": f"rgb{category.color}"} for category in splits[0].categories
            ],
            "pictures": rows,
        }
        names = " and ".join(split.name for split in splits)
        write_page(folder, f"Data set: {names}", _body(splits, findings), data)


def _choose(
    splits: Sequence[SplitFacts], by_image: dict[tuple[int, int], list[Finding]], most: int
) -> list[tuple[int, int]]:
    """Pictures with a finding, worst first, then a sample of the others, evenly spread over the splits."""
    odd = sorted(by_image, key=lambda key: (-sum(f.kind == "fault" for f in by_image[key]), -len(by_image[key]), key))
    others = [
        (split, image)
        for split, facts in enumerate(splits)
        for image in range(len(facts.annotations))
        if (split, image) not in by_image
    ]
    room = min(len(others), max(0, most - len(odd)))
    return odd + [others[i] for i in np.linspace(0, len(others) - 1, room).round().astype(int).tolist()]


def _picture(facts: SplitFacts, split: int, image: int, target: Path) -> _Picture:
    first, end = np.searchsorted(facts.segments.image, [image, image + 1])
    return _Picture(
        split, image, facts.files, facts.annotations[image], facts.segments.area[first:end].tolist(), target
    )


def _draw(categories: Categories, picture: _Picture) -> tuple[bool, bool]:
    """Write a picture and its map; whether each could be drawn."""
    record, target = picture.record, picture.target
    areas = picture.areas or [0] * len(record.segments)  # nobody measured an image with a fault
    segments = [
        Segment(s.id, s.category_id, categories.by_id(s.category_id).is_thing, 1.0, area)
        for s, area in zip(record.segments, areas, strict=True)
    ]
    return (
        write_picture(picture.files.images / record.file_name, target.with_suffix(".webp")),
        write_map(
            picture.files.segments / record.segments_file_name,
            target.with_name(f"{target.name}-map.webp"),
            segments,
            categories,
        ),
    )


def _filters(splits: Sequence[SplitFacts]) -> list[dict[str, object]]:
    return [
        {"name": "Problem", "options": [*_KINDS, "none"]},
        {"name": "Category", "options": [category.name for category in splits[0].categories]},
        {"name": "Size", "options": [f"has {size} things" for size in SIZES]},
        {"name": "Split", "options": [split.name for split in splits]},
    ]


_KINDS = ("fault", "tiny", "unusual size", "distant parts", "void", "near-duplicate")


def _gallery_row(
    picture: _Picture, drawn: tuple[bool, bool], splits: Sequence[SplitFacts], findings: Sequence[Finding]
) -> dict[str, object]:
    record, facts = picture.record, splits[picture.split]
    places = [facts.categories.position(segment.category_id) for segment in record.segments]
    things = [area for place, area in zip(places, picture.areas, strict=False) if facts.categories[place].is_thing]
    kinds = {_KINDS.index(finding.kind) for finding in findings if finding.kind in _KINDS}
    with_areas = itertools.zip_longest(places, picture.areas)
    return {
        "title": f"{facts.name}/{record.file_name}",
        "note": f"{record.width} x {record.height}, {len(record.segments)} segments",
        "picture": f"{PICTURES}/{picture.target.name}.webp" if drawn[0] else None,
        "panels": [["", f"{PICTURES}/{picture.target.name}-map.webp" if drawn[1] else None]],
        "problems": [{"text": finding.text, "wrong": finding.kind == "fault"} for finding in findings],
        "segments": [["", [[place, "" if area is None else f"{area:,} pixels", False] for place, area in with_areas]]],
        "chosen": [
            sorted(kinds) or [len(_KINDS)],
            sorted(set(places)),
            sorted({_size(area) for area in things}),
            [picture.split],
        ],
    }


def _size(area: float) -> int:
    return int(np.digitize(area, _SIZE_BOUNDS))


def _body(splits: Sequence[SplitFacts], findings: Sequence[Finding]) -> list[Markup]:
    return [
        _verdict(splits, findings),
        _overview(splits),
        _findings_section(splits, findings),
        _categories_section(splits),
        _histograms(splits),
        gallery(),
    ]


def _verdict(splits: Sequence[SplitFacts], findings: Sequence[Finding]) -> Markup:
    faults = sum(finding.kind == "fault" for finding in findings)
    looks = len(findings) - faults
    text = "Nothing is wrong: training takes every picture."
    if faults:
        text = f"{_times(faults)} wrong: training stops there, or leaves the picture out."
    worth = f" {_times(looks)} worth a look." if looks else ""
    return element("p", element("strong", text, class_="wrong" if faults else ""), worth, class_="verdict")


def _times(number: int) -> str:
    return "1 thing is" if number == 1 else f"{number:,} things are"


def _overview(splits: Sequence[SplitFacts]) -> Markup:
    rows = []
    for split in splits:
        sizes = Counter((record.width, record.height) for record in split.annotations)
        (width, height), number = sizes.most_common(1)[0] if sizes else ((0, 0), 0)
        more = f" in {number / len(split.annotations):.0%}" if len(sizes) > 1 else ""
        things = np.isin(split.segments.category, [i for i, c in enumerate(split.categories) if c.is_thing])
        rows.append(
            [
                split.name,
                f"{len(split.annotations):,}",
                f"{width} x {height}{more}",
                f"{int(things.sum()):,}",
                f"{int((~things).sum()):,}",
                f"{int(split.segments.crowd.sum()):,}",
                f"{100 * float(split.void.mean() if len(split.void) else 0):.1f} %",
            ]
        )
    columns = ("split", "pictures", "size", "things", "stuff segments", "crowds", "void")
    return section("What there is", table(columns, rows, "Splits"))


def _findings_section(splits: Sequence[SplitFacts], findings: Sequence[Finding]) -> Markup:
    rows: list[list[str]] = []
    listed: Counter[str] = Counter()
    for finding in findings:
        listed[finding.kind] += 1
        if listed[finding.kind] <= _LISTED:
            split = splits[finding.split]
            place = split.name if finding.image is None else f"{split.name}/{split.file_name(finding.image)}"
            kind = element("span", finding.kind, class_="wrong" if finding.kind == "fault" else "look")
            rows.append([kind, place, finding.text])
    if not rows:
        return section("Worth a look", element("p", "Nothing."))
    left = {kind: number - _LISTED for kind, number in listed.items() if number > _LISTED}
    more = "".join(f" {number:,} more of kind {kind} are not listed here." for kind, number in left.items())
    return section(
        "Worth a look",
        element(
            "details", element("summary", f"{len(rows):,} lines"), table(("kind", "where", "what"), rows, "Findings")
        ),
        note="Red lines are wrong. The others are often right: look at them in the pictures below." + more,
    )


def _categories_section(splits: Sequence[SplitFacts]) -> Markup:
    categories = splits[0].categories
    counts = [np.bincount(split.segments.category, minlength=len(categories)) for split in splits]
    images = [
        np.bincount(np.unique(np.stack([s.segments.category, s.segments.image]), axis=1)[0], minlength=len(categories))
        for s in splits
    ]
    pixels = [np.bincount(s.segments.category, s.segments.area, len(categories)) for s in splits]
    columns = ["category", "kind"]
    for split in splits:
        columns += [f"{split.name}: segments", "pictures", "pixels"]
    rows = []
    for place in np.argsort(-sum(counts), kind="stable").tolist():
        category = categories[place]
        color = f"rgb{category.color}"
        name = element("span", element("span", class_="swatch", style=f"background: {color}"), category.name)
        row: list[str] = [name, "thing" if category.is_thing else "stuff"]
        for count, having, area in zip(counts, images, pixels, strict=True):
            share = 100 * area[place] / area.sum() if area.sum() else 0.0
            row += [bar(count[place], count.max(), f"{count[place]:,}", color), f"{having[place]:,}", f"{share:.2f} %"]
        rows.append(row)
    return section("Categories", table(columns, rows, "Most frequent first"))


def _histograms(splits: Sequence[SplitFacts]) -> Markup:
    parts = []
    for split in splits:
        table_ = split.segments
        things = np.isin(table_.category, [i for i, c in enumerate(split.categories) if c.is_thing]) & ~table_.crowd
        per_image = np.bincount(table_.image[things], minlength=len(split.annotations))
        parts.append(histogram(*_ranges(per_image), f"{split.name}: things in a picture"))
        sizes = np.bincount(np.digitize(table_.area[things], _SIZE_BOUNDS), minlength=len(SIZES)).tolist()
        names = ("small (below 32 x 32)", "medium", "large (from 96 x 96)")
        rows = [[n, bar(c, max(sizes), f"{c:,}")] for n, c in zip(names, sizes, strict=True)]
        parts.append(table(("", "things"), rows, f"{split.name}: sizes of things"))
    return section("How many, how large", element("div", *parts, class_="columns"))


def _ranges(values: np.ndarray) -> tuple[list[str], list[int]]:
    """Names and counts of classes whose bounds double: 0, 1, 2, 3-4, 5-8, ..."""
    bounds = [0, 1, 2]
    while bounds[-1] < int(values.max(initial=0)):
        bounds.append(2 * bounds[-1])
    counts, names, lower = [], [], 0
    for upper in bounds:
        names.append(str(upper) if lower >= upper else f"{lower}-{upper}")
        counts.append(int(((values >= lower) & (values <= upper)).sum()))
        lower = upper + 1
    return names, counts
