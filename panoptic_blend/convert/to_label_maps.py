"""COCO panoptic data as label maps, with maps of objects beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.convert.names import LabelName, parse_line
from panoptic_blend.convert.target import Scene, Written
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import segments_name

NAMES = "names.txt"
_VOID = 0
_LARGEST = 2**16 - 1


@dataclass(frozen=True)
class ToLabelMaps:
    """`images/`, `labels/`, `instances/` if there are things, and `names.txt`; see `Target`.

    Label maps are gray. A value is the category's id, or its position from 1 where an id is no value of 1..65535; 0 is
    void. `instances/` numbers the objects of each image in 16 bits; stuff and crowds have 0.
    """

    categories: Categories

    keeps_scores = False

    def __post_init__(self) -> None:
        """Raise `DatasetError` for a name that would not be read again as it is written."""
        for value, name in self._names().items():
            if not _is_read_again(value, name):
                raise DatasetError(f"the category {name!r} cannot be written as a line of {NAMES}. Rename it.")

    @property
    def values(self) -> dict[int, int]:
        """Value in the maps by category id."""
        ids = [each.id for each in self.categories]
        are_values = all(_VOID < each <= _LARGEST for each in ids)
        return {each: each if are_values else position for position, each in enumerate(ids, 1)}

    @property
    def notes(self) -> list[str]:
        """How the maps are read again."""
        things = ",".join(each.name for each in self.categories.things)
        return [f"Read the maps with --labels {NAMES}" + (f" --things {things!r}." if things else ".")]

    def image_path(self, name: str) -> str:
        """See `Target`."""
        return f"images/{name}"

    def labels_path(self, name: str) -> str:
        """See `Target`."""
        return f"labels/{segments_name(name)}"

    def write(self, scene: Scene, root: Path) -> Written:
        """The maps of one image."""
        values = self.values
        ids, positions = contiguous_labels(scene.id_map)
        segments = {segment.id: segment for segment in scene.segments}
        labels, numbers = np.full(len(ids), _VOID), np.zeros(len(ids), np.int64)
        crowds: list[int] = []
        lost = []
        for position, segment_id in enumerate(ids.tolist()):
            if segment_id == 0:
                continue
            segment = segments[segment_id]
            labels[position] = values[segment.category_id]
            if segment.is_crowd:
                if segment.category_id in crowds:
                    lost.append(f"another crowd of {scene.category_name(segment)!r} beside the first: they are one")
                crowds.append(segment.category_id)
            elif self.categories.by_id(segment.category_id).is_thing:
                numbers[position] = numbers.max() + 1
        if numbers.max() > _LARGEST:
            raise DatasetError(
                f"{scene.record.file_name}: has {numbers.max()} objects; maps number {_LARGEST} at most."
            )
        name = segments_name(scene.record.file_name)
        deep = np.uint16 if max(values.values()) > 255 else np.uint8
        _write_map(root / "labels" / name, labels.astype(deep)[positions])
        if self.categories.things:
            _write_map(root / "instances" / name, numbers.astype(np.uint16)[positions])
        return Written(lost=lost)

    def finish(self, root: Path, images: Sequence[ImageRecord], written: Iterable[Written]) -> None:
        """The list of names."""
        for _ in written:
            pass
        lines = [f"{value} {name}\n" for value, name in {_VOID: "void", **self._names()}.items()]
        (root / NAMES).write_text("".join(lines), encoding="utf-8")

    def _names(self) -> dict[int, str]:
        """Name by value."""
        return {value: self.categories.by_id(category_id).name for category_id, value in self.values.items()}


def _is_read_again(value: int, name: str) -> bool:
    try:
        read = parse_line(f"{value} {name}", NAMES)
        return read == LabelName(name, value, None) and not read.is_void
    except DatasetError:
        return False


def _write_map(path: Path, values: npt.NDArray[np.integer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
