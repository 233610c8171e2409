"""What a conversion read and what it lost, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from panoptic_blend.categories import Categories

SUMMARY = "summary.txt"
SHOWN = 20
"""Losses that are listed on the terminal; all of them are in the file."""


@dataclass(frozen=True)
class Lost:
    """Something that is not in the result.

    Attributes:
        file_name: of the image.
        what: what, and why.
    """

    file_name: str
    what: str


@dataclass
class Summary:
    """What a conversion did.

    Attributes:
        images: number of each split.
        categories: of the result.
        segments: number of each category, by name.
        lost: everything that is not in the result.
        overlaps: objects that another one hides in part.
        notes: sentences about the result.
    """

    images: Mapping[str, int]
    categories: Categories
    segments: Counter[str] = field(default_factory=Counter)
    lost: list[Lost] = field(default_factory=list)
    overlaps: int = 0
    notes: list[str] = field(default_factory=list)

    def lines(self, most: int | None = None) -> list[str]:
        """The summary as text.

        Args:
            most: losses that are listed; None lists all.
        """
        lines = [f"{split}: {count} images" for split, count in self.images.items()]
        lines += [
            f"  {self.segments[each.name]:>8} {each.name} ({'thing' if each.is_thing else 'stuff'})"
            for each in self.categories
        ]
        if self.overlaps:
            lines.append(f"{self.overlaps} objects are hidden in part by another; --overlap says which stays in front.")
        lines += self.notes
        lines += [f"lost: {each.file_name}: {each.what}" for each in self.lost[:most]]
        hidden = len(self.lost) - len(self.lost[:most])
        return [*lines, *([f"and {hidden} more, all of them in {SUMMARY}"] if hidden else [])]

    def write(self, folder: Path) -> None:
        """Write all of it to `summary.txt` in a folder."""
        (folder / SUMMARY).write_text("".join(f"{line}\n" for line in self.lines()), encoding="utf-8")
