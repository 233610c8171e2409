"""A number per category, and what it is on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from panoptic_blend.categories import Categories


@dataclass(frozen=True)
class CategoryMeans:
    """A number in 0..1 per category, averaged over all, things and stuff; 0, and noted, where there is none.

    Attributes:
        per_class: {category id: number} of the categories that have one.
        notes: what a reader of the numbers must know.
    """

    all: float
    things: float
    stuff: float
    per_class: Mapping[int, float]
    notes: tuple[str, ...] = ()


def average(categories: Categories, per_class: Mapping[int, float]) -> CategoryMeans:
    """Average what is known of some categories.

    Args:
        per_class: {category id: number}; categories that are not in it are left out of the means.
    """
    groups = {"category": categories, "thing": categories.things, "stuff": categories.stuff}
    known = {name: [per_class[c.id] for c in group if c.id in per_class] for name, group in groups.items()}
    means = {name: sum(values) / len(values) if values else 0.0 for name, values in known.items()}
    notes = tuple(f"no {name} is there to be averaged: 0" for name, values in known.items() if not values)
    return CategoryMeans(means["category"], means["thing"], means["stuff"], per_class, notes)
