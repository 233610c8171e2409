"""Categories of a data set and their two contiguous label spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from panoptic_blend.errors import DatasetError

THING = 0
"""Semantic label of every pixel that belongs to some thing."""
IGNORE = -1
"""Semantic label of void and crowd pixels: no loss, no score."""
MOST_STUFF = 2**16 - 1
"""Stuff categories whose labels fit into predicted label maps."""


@dataclass(frozen=True)
class Category:
    """One row of a COCO panoptic `categories` list."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]
    supercategory: str | None = ""


class Categories(Sequence[Category]):
    """Maps dataset category ids to contiguous labels, in the order the data set lists them.

    Things get `thing_label` 0..T-1 (the detector's classes); stuff gets `semantic_label` 1..S (the semantic
    branch's classes), where 0 means "a thing" and -1 "ignore".

    Raises:
        DatasetError: no categories, an id used twice, or more than `MOST_STUFF` stuff categories.
    """

    def __init__(self, categories: Sequence[Category], source: str = "categories"):
        if not categories:
            raise DatasetError(f"{source}: no categories. List at least one category with id, name and isthing.")
        self._all = tuple(categories)
        self.things = tuple(c for c in self._all if c.is_thing)
        self.stuff = tuple(c for c in self._all if not c.is_thing)
        self._by_id = {c.id: c for c in self._all}
        self._positions = {c.id: position for position, c in enumerate(self._all)}
        if len(self._by_id) < len(self._all):
            ids = [c.id for c in self._all]
            twice = sorted({i for i in ids if ids.count(i) > 1})
            raise DatasetError(f"{source}: category ids {twice} appear more than once. Give every category its own id.")
        if len(self.stuff) > MOST_STUFF:
            raise DatasetError(f"{source}: {len(self.stuff)} stuff categories; at most {MOST_STUFF} are supported.")
        self._thing_labels = {c.id: label for label, c in enumerate(self.things)}
        self._stuff_labels = {c.id: label for label, c in enumerate(self.stuff, start=THING + 1)}

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: Any) -> Any:  # an int or a slice, as in any Sequence
        return self._all[index]

    def __iter__(self) -> Iterator[Category]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categories) and self._all == other._all

    def __hash__(self) -> int:
        return hash(self._all)

    def __deepcopy__(self, memo: object) -> Categories:
        return self  # nothing in it changes

    def __repr__(self) -> str:
        return f"Categories({len(self.things)} things, {len(self.stuff)} stuff)"

    def has_id(self, category_id: int) -> bool:
        """Whether the data set has a category of this id."""
        return category_id in self._by_id

    def by_id(self, category_id: int) -> Category:
        """The category with this dataset id; `KeyError` when there is none."""
        return self._by_id[category_id]

    def position(self, category_id: int) -> int:
        """Where the category with this dataset id stands in the list; `KeyError` when there is none."""
        return self._positions[category_id]

    def thing_label(self, category_id: int) -> int:
        """Detector class 0..T-1 of a thing's dataset id; `KeyError` for stuff."""
        return self._thing_labels[category_id]

    def semantic_label(self, category_id: int) -> int:
        """Semantic class of a dataset id: 0 for every thing, 1..S for stuff."""
        return THING if self._by_id[category_id].is_thing else self._stuff_labels[category_id]

    def differences(self, other: Categories, here: str, there: str) -> str:
        """The first categories of other names, or things here and stuff there; empty when they mean the same.

        Colours, supercategories and the order may differ. `here` and `there` are what the two are called.
        """
        ids = [c.id for c in self] + [c.id for c in other if not self.has_id(c.id)]
        return _first_few(
            [
                f"category {i} is {self.describe(i)} in {here}, {other.describe(i)} in {there}"
                for i in sorted(ids)
                if self.describe(i) != other.describe(i)
            ]
        )

    def contradictions(self, names: Mapping[int, str], here: str, there: str) -> str:
        """The first ids that mean something else, or names under another id, in a list of names by id; empty when none.

        The list may lack categories, and have others. It is called `here`, and this one `there`.
        """
        ids: dict[str, list[int]] = {}
        for category in self:
            ids.setdefault(category.name, []).append(category.id)
        found = []
        for i, name in sorted(names.items()):
            if self.has_id(i) and self.by_id(i).name != name:
                found.append(f"category {i} is {name!r} in {here}, {self.by_id(i).name!r} in {there}")
            elif not self.has_id(i) and name in ids:
                found.append(f"{name!r} is category {i} in {here}, {ids[name][0]} in {there}")
        return _first_few(found)

    def describe(self, category_id: int) -> str:
        """A category's name, and whether it is thing or stuff; "absent" when there is none of this id."""
        if category_id not in self._by_id:
            return "absent"
        category = self._by_id[category_id]
        return f"{category.name!r} ({'thing' if category.is_thing else 'stuff'})"

    @classmethod
    def from_json(cls, rows: object, source: str = "categories") -> Categories:
        """Read a COCO panoptic `categories` list.

        A row without `isthing` (COCO's image-info files) counts as a thing; a row without `color` gets one.

        Args:
            rows: the decoded JSON list.
            source: what error messages call it, normally the file name.

        Raises:
            DatasetError: a row is not an object, or its id or name is missing or of the wrong type.
        """
        if not isinstance(rows, list):
            raise DatasetError(f"{source}: 'categories' must be a list, found {type(rows).__name__}.")
        categories = []
        for position, row in enumerate(rows):
            where = f"{source}: categories[{position}]"
            if not isinstance(row, dict):
                raise DatasetError(f"{where} must be an object with id, name and isthing, found {type(row).__name__}.")
            category_id, name = row.get("id"), row.get("name")
            if not isinstance(category_id, int) or isinstance(category_id, bool):
                raise DatasetError(f"{where}: 'id' must be an integer, found {category_id!r}.")
            if not isinstance(name, str):
                raise DatasetError(f"{where}: 'name' must be text, found {name!r}.")
            if row.get("isthing", 1) not in (0, 1):
                raise DatasetError(f"{where} ({name}): 'isthing' must be 0 or 1, found {row['isthing']!r}.")
            supercategory = row.get("supercategory", "")
            categories.append(
                Category(
                    id=category_id,
                    name=name,
                    is_thing=bool(row.get("isthing", 1)),
                    color=_color(row.get("color"), position, where),
                    supercategory=None if supercategory is None else str(supercategory),
                )
            )
        return cls(categories, source)

    def to_json(self) -> list[dict[str, object]]:
        """The list as COCO writes it; `from_json` reads it back unchanged."""
        return [
            {
                "id": c.id,
                "name": c.name,
                "supercategory": c.supercategory,
                "isthing": int(c.is_thing),
                "color": list(c.color),
            }
            for c in self._all
        ]


def _first_few(sentences: Sequence[str]) -> str:
    return "; ".join(sentences[:3]) + (f"; and {len(sentences) - 3} more" if len(sentences) > 3 else "")


def _color(value: Any, position: int, where: str) -> tuple[int, int, int]:
    if value is None:
        # An odd multiplier modulo 256 visits every value once, so the first 256 colours differ.
        return (67 * position + 40) % 256, (131 * position + 90) % 256, (29 * position + 160) % 256
    valid = isinstance(value, (list, tuple)) and len(value) == 3
    if not valid or not all(isinstance(v, int) and 0 <= v <= 255 for v in value):
        raise DatasetError(f"{where}: 'color' must be three integers in 0..255, found {value!r}.")
    return value[0], value[1], value[2]
