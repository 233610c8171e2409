"""What detectron2 calls a data set's categories. Nothing here imports detectron2."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from panoptic_blend.categories import THING, Categories
from panoptic_blend.errors import DatasetError

IGNORE_LABEL = 255
"""What detectron2 calls ignored pixels of semantic maps, which are 8-bit images there."""
_ALL_THINGS = "things"
"""Name of the stuff class, contiguous id 0, that semantic maps of the separated layout paint all things with."""


@dataclass(frozen=True)
class ContiguousIds:
    """Categories beside the ids that detectron2's metadata gives them.

    detectron2 counts things from 0. Stuff goes from 1 in its separated layout, where 0 means a thing; in its plain
    layout things and stuff share one range, which for Cityscapes has the things at its end. Semantic maps are always
    0 = a thing, 1..S = stuff, 255 = ignore.

    Attributes:
        categories: in the order of the contiguous ids.
        things: contiguous id by dataset id, in the order of the detector's labels.
        stuff: contiguous id by dataset id, in the order of the semantic labels.
    """

    categories: Categories
    things: dict[int, int]
    stuff: dict[int, int]

    def contiguous(self, category_id: int, is_thing: bool) -> int:
        """Contiguous id of a dataset id."""
        return self.things[category_id] if is_thing else self.stuff[category_id]

    def category_id(self, contiguous: int, is_thing: bool) -> int:
        """Dataset id of a contiguous id."""
        ids = self.things if is_thing else self.stuff
        return next(category_id for category_id, each in ids.items() if each == contiguous)


def read_metadata(metadata: Any, name: str) -> ContiguousIds:
    """The ids of a data set registered with `register_coco_panoptic`, `register_coco_panoptic_separated` or the like.

    Args:
        metadata: detectron2's `Metadata` of the data set; without stuff for an instance data set.
        name: of the data set, for error messages.

    Raises:
        DatasetError: the metadata does not list things and their ids, or more stuff than such maps have labels for.
    """
    if not hasattr(metadata, "thing_classes") or not hasattr(metadata, "thing_dataset_id_to_contiguous_id"):
        raise DatasetError(
            f"data set {name!r}: detectron2's metadata lacks thing_classes or thing_dataset_id_to_contiguous_id. "
            "Register it before building the model, for instance with register_coco_panoptic."
        )
    things = _by_contiguous_id(metadata.thing_dataset_id_to_contiguous_id)
    stuff = _by_contiguous_id(getattr(metadata, "stuff_dataset_id_to_contiguous_id", {}))
    stuff_classes = getattr(metadata, "stuff_classes", [])
    if hasattr(metadata, "sem_seg_root") or stuff_classes[:1] == [_ALL_THINGS]:
        stuff = {category_id: contiguous for category_id, contiguous in stuff.items() if contiguous != THING}
    if len(stuff) >= IGNORE_LABEL:
        raise DatasetError(
            f"data set {name!r}: {len(stuff)} stuff categories; detectron2's semantic maps have 8 bits, and 255 means "
            f"ignore. At most {IGNORE_LABEL - 1} are possible there; `panoptic-blend train` takes more."
        )
    rows = [
        {"id": category_id, "name": names[contiguous], "isthing": isthing, "color": colors and list(colors[contiguous])}
        for isthing, ids, names, colors in (
            (1, things, metadata.thing_classes, getattr(metadata, "thing_colors", None)),
            (0, stuff, stuff_classes, getattr(metadata, "stuff_colors", None)),
        )
        for category_id, contiguous in ids.items()
    ]
    return ContiguousIds(Categories.from_json(rows, f"data set {name!r}"), things, stuff)


def panoptic_metadata(categories: Categories) -> dict[str, Any]:
    """Metadata for `register_coco_panoptic` and `register_coco_panoptic_separated`, from a data set's categories."""
    things, stuff = categories.things, categories.stuff
    no_category = next(i for i in count() if not categories.has_id(i))  # detectron2 wants an id for every class
    return {
        "thing_classes": [c.name for c in things],
        "thing_colors": [list(c.color) for c in things],
        "thing_dataset_id_to_contiguous_id": {c.id: categories.thing_label(c.id) for c in things},
        "stuff_classes": [_ALL_THINGS, *(c.name for c in stuff)],
        "stuff_colors": [[0, 0, 0], *(list(c.color) for c in stuff)],
        "stuff_dataset_id_to_contiguous_id": {
            no_category: THING,
            **{c.id: categories.semantic_label(c.id) for c in stuff},
        },
    }


def _by_contiguous_id(ids: dict[int, int]) -> dict[int, int]:
    return dict(sorted(ids.items(), key=lambda item: item[1]))
