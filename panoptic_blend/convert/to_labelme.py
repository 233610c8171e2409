"""COCO panoptic data as LabelMe's JSON, one beside every image."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.convert.labelme import CROWD
from panoptic_blend.convert.names import VOID_NAMES
from panoptic_blend.convert.polygons import polygons_of
from panoptic_blend.convert.target import Row, Scene, Written
from panoptic_blend.errors import DatasetError

_VERSION = "5.5.0"
"""Of LabelMe, whose files these are like."""


@dataclass(frozen=True)
class ToLabelMe:
    """A JSON beside every image; see `Target`.

    Every connected part is a polygon; those of one segment have a group in common. Holes are joined to the outline by
    bridges without width. A score is in the shape's description, and a crowd has the flag `crowd`.
    """

    categories: Categories

    keeps_scores = True

    def __post_init__(self) -> None:
        """Raise `DatasetError` for a name that means no category where the files are read again."""
        for each in self.categories:
            if each.name.casefold() in VOID_NAMES:
                raise DatasetError(f"the category {each.name!r} would be read as pixels without label. Rename it.")

    @property
    def notes(self) -> list[str]:
        """How stuff is read again."""
        stuff = ",".join(each.name for each in self.categories.stuff)
        return [f"LabelMe knows no stuff: read the files with --stuff {stuff!r}."] * bool(stuff)

    def image_path(self, name: str) -> str:
        """See `Target`."""
        return name

    def labels_path(self, name: str) -> str:
        """See `Target`."""
        return str(PurePosixPath(name).with_suffix(".json"))

    def write(self, scene: Scene, root: Path) -> Written:
        """The JSON of one image."""
        shapes = []
        polygons = polygons_of(scene.id_map, in_one=())
        for segment in scene.segments:
            parts = polygons[segment.id]
            shapes += [
                {
                    "label": scene.category_name(segment),
                    "points": polygon.tolist(),
                    "group_id": segment.id if len(parts) > 1 else None,
                    "description": "" if segment.score is None else f"score {segment.score}",
                    "shape_type": "polygon",
                    "flags": {CROWD: True} if segment.is_crowd else {},
                }
                for polygon in parts
            ]
        content: Row = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": PurePosixPath(scene.record.file_name).name,
            "imageData": None,
            "imageHeight": scene.record.height,
            "imageWidth": scene.record.width,
        }
        path = root / self.labels_path(scene.record.file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return Written()

    def finish(self, root: Path, images: Sequence[ImageRecord], written: Iterable[Written]) -> None:
        """Images have nothing in common."""
        for _ in written:
            pass
