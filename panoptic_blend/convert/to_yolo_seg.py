"""COCO panoptic data as Ultralytics' YOLO segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.convert.outlines import Points
from panoptic_blend.convert.polygons import polygons_of
from panoptic_blend.convert.target import Scene, Written
from panoptic_blend.convert.yolo_seg import SPLITS, labels_file

_DECIMALS = 6


@dataclass(frozen=True)
class ToYoloSeg:
    """`data.yaml`, `images/SPLIT/` and `labels/SPLIT/`; see `Target`.

    An object is one line: its parts and holes are joined by bridges without width. Stuff is a line for every connected
    part. Crowds are left out.
    """

    categories: Categories
    split: str

    keeps_scores = False

    @property
    def notes(self) -> list[str]:
        """How stuff is read again."""
        stuff = ",".join(each.name for each in self.categories.stuff)
        return [f"YOLO knows no stuff: every part of it is a polygon. Read the files with --stuff {stuff!r}."] * bool(
            stuff
        )

    def image_path(self, name: str) -> str:
        """See `Target`."""
        return f"images/{self.split}/{name}"

    def labels_path(self, name: str) -> str:
        """See `Target`."""
        return labels_file(Path(self.image_path(name)), Path()).as_posix()

    def write(self, scene: Scene, root: Path) -> Written:
        """The lines of one image."""
        sides = np.array([scene.record.width, scene.record.height])

        def as_written(polygon: Points) -> Points:
            return np.round(polygon / sides, _DECIMALS) * sides

        classes = {each.id: number for number, each in enumerate(self.categories)}
        things = {each.id for each in scene.segments if self.categories.by_id(each.category_id).is_thing}
        polygons = polygons_of(scene.id_map, things, as_written)
        lines, lost = [], []
        for segment in scene.segments:
            if segment.is_crowd:
                lost.append(f"a crowd of {scene.category_name(segment)!r}, which YOLO has no word for")
                continue
            for polygon in polygons[segment.id]:
                numbers = np.round(polygon / sides, _DECIMALS).ravel().tolist()
                lines.append(" ".join(map(str, [classes[segment.category_id], *numbers])) + "\n")
        path = root / self.labels_path(scene.record.file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
        return Written(lost=lost)

    def finish(self, root: Path, images: Sequence[ImageRecord], written: Iterable[Written]) -> None:
        """The list of classes."""
        for _ in written:
            pass
        content = {
            self.split if self.split in SPLITS else "train": f"images/{self.split}",
            "names": {number: each.name for number, each in enumerate(self.categories)},
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (root / "data.yaml").write_text(text, encoding="utf-8")
