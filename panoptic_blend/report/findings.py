"""What is wrong with a data set, and what is worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from panoptic_blend.report.dataset_facts import SplitFacts
from panoptic_blend.report.fingerprints import near_duplicates

Kind = Literal["fault", "tiny", "unusual size", "distant parts", "void", "near-duplicate", "missing category"]

TINY = 16
"""Pixels: a cell of the maps at stride 4, on which masks and stuff are drawn."""
MUCH_VOID = 0.5
"""Share of a picture."""
DISTANT = 0.2
"""Gap between parts of a thing, in diagonals of the picture."""
_ENOUGH = 30
"""Segments of a category from which on it has a usual size."""
_OCTAVES = 4.0
"""An unusual segment is at least 16 times smaller or larger than the median of its category..."""
_DEVIATIONS = 5.0
"""...and so many standard deviations away, estimated from the median absolute deviation of log areas."""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know.

    Attributes:
        kind: "fault" is wrong: training stops or leaves the image out; all others are worth a look.
        split: position of the split.
        image: position in the split; None when it is about all of it.
        text: the sentence.
        category: position of the category it is about, if any.
    """

    kind: Kind
    split: int
    image: int | None
    text: str
    category: int | None = None


def find(splits: list[SplitFacts]) -> list[Finding]:
    """All findings, faults first, then split by split."""
    found = [finding for number, split in enumerate(splits) for finding in _of_split(number, split)]
    found += _missing_categories(splits)
    for first in range(len(splits)):
        for second in range(first + 1, len(splits)):
            found += _duplicates(splits, first, second)
    return sorted(found, key=lambda finding: finding.kind != "fault")


def _of_split(number: int, split: SplitFacts) -> Iterator[Finding]:
    for bad in split.bad_rows:
        yield Finding("fault", number, None, bad.reason)
    for image, fault in split.faults.items():
        yield Finding("fault", number, image, fault)
    for image in np.flatnonzero(split.void > MUCH_VOID).tolist():
        yield Finding("void", number, image, f"{split.void[image]:.0%} of the picture belongs to no segment")
    table = split.segments
    checks: Iterable[tuple[Kind, npt.NDArray[np.bool_], str]] = (
        ("tiny", table.area < TINY, "has only {area} pixels"),
        ("distant parts", table.gap > DISTANT, "has parts that lie {gap:.0%} of the picture's diagonal apart"),
        ("unusual size", _unusual(split), "has {area} pixels; usual for its category in such a picture are {usual}"),
    )
    for kind, mask, text in checks:
        for row in np.flatnonzero(mask).tolist():
            image, category = int(table.image[row]), int(table.category[row])
            usual = 2.0 ** split.usual_share[category] * split.pixels[image]
            what = text.format(area=table.area[row], gap=table.gap[row], usual=f"{max(1, round(usual)):,}")
            name = split.categories[category].name
            yield Finding(kind, number, image, f"{name} (segment {table.id[row]}) {what}", category)


def _unusual(split: SplitFacts) -> npt.NDArray[np.bool_]:
    """[segments] bool: far smaller or larger than others of the category, as a share of the picture."""
    table = split.segments
    share = np.log2(np.maximum(table.area, 1) / split.pixels[table.image])
    unusual = np.zeros(len(share), bool)
    for category in range(len(split.categories)):
        rows = np.flatnonzero((table.category == category) & ~table.crowd)
        if len(rows) >= _ENOUGH:
            away = np.abs(share[rows] - split.usual_share[category])
            unusual[rows] = away > max(_OCTAVES, _DEVIATIONS * 1.4826 * float(np.median(away)))
    return unusual


def _missing_categories(splits: list[SplitFacts]) -> Iterator[Finding]:
    """Categories that one split has segments of, and another has none of."""
    present = [set(split.segments.category.tolist()) for split in splits]
    for number, split in enumerate(splits):
        others = set[int]().union(*present) - present[number]
        for category in sorted(others):
            there = next(other.name for other, has in zip(splits, present, strict=True) if category in has)
            text = f"{split.categories[category].name}: {split.name} has no segment of it, {there} has"
            yield Finding("missing category", number, None, text, category)
        if len(splits) == 1:
            for category in sorted(set(range(len(split.categories))) - present[0]):
                text = f"{split.categories[category].name}: is listed, but no segment is of it"
                yield Finding("missing category", number, None, text, category)


def _duplicates(splits: list[SplitFacts], first: int, second: int) -> Iterator[Finding]:
    one, other = splits[first], splits[second]
    for image, twin in near_duplicates(one.fingerprints, other.fingerprints):
        yield Finding("near-duplicate", first, image, f"looks like {other.name}/{other.file_name(twin)}")
        yield Finding("near-duplicate", second, twin, f"looks like {one.name}/{one.file_name(image)}")
