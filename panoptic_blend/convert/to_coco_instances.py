"""COCO panoptic data as one JSON of instances with run lengths: things, crowds, and stuff beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.truth import TrueSegment, segments_info
from panoptic_blend.convert.target import Row, Scene, Written


@dataclass(frozen=True)
class ToCocoInstances:
    """`annotations/instances_SPLIT.json`, with images in `images/SPLIT/`; see `Target`.

    A segment of stuff is an annotation as every other. Its category says `"isthing": 0`, so that it is stuff again when
    the file is converted back. A score is the annotation's `score`.
    """

    categories: Categories
    split: str

    keeps_scores = True

    @property
    def notes(self) -> list[str]:
        """Where stuff is."""
        stuff = ", ".join(each.name for each in self.categories.stuff)
        return [f'A segment of stuff is an annotation; "isthing" is 0 in its category ({stuff}).'] * bool(stuff)

    def image_path(self, name: str) -> str:
        """See `Target`."""
        return f"images/{self.split}/{name}"

    def labels_path(self, name: str) -> str:
        """Labels of all images are in one file."""
        return ""

    def write(self, scene: Scene, root: Path) -> Written:
        """The annotations of one image, without ids."""
        segments = {each.id: each for each in scene.segments}
        info = segments_info(scene.id_map, {i: TrueSegment(s.category_id, s.is_crowd) for i, s in segments.items()})
        rows: list[Row] = []
        for each in info:
            segment_id = int(str(each.pop("id")))
            run_lengths = coco_mask.encode(np.asfortranarray(scene.id_map == segment_id, np.uint8))
            run_lengths["counts"] = run_lengths["counts"].decode()
            row: Row = {"image_id": scene.record.image_id, **each, "segmentation": run_lengths}
            score = segments[segment_id].score
            rows.append(row if score is None else row | {"score": score})
        return Written(rows)

    def finish(self, root: Path, images: Sequence[ImageRecord], written: Iterable[Written]) -> None:
        """The JSON, written as the images come."""
        path = root / "annotations" / f"instances_{self.split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"images": [')
            for position, image in enumerate(images):
                row = {"id": image.image_id, "file_name": image.file_name, "width": image.width, "height": image.height}
                file.write(",\n" * (position > 0) + json.dumps(row))
            file.write('],\n"annotations": [')
            numbers = count(1)
            for each in written:
                for annotation in each.rows:
                    number = next(numbers)
                    file.write(",\n" * (number > 1) + json.dumps({"id": number, **annotation}))
            file.write(f'],\n"categories": {json.dumps(self.categories.to_json())}}}\n')
