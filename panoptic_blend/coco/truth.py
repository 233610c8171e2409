"""Write ground truth in COCO panoptic format, in the layout that `DataConfig` looks for."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.counting import contiguous_labels, label_boxes
from panoptic_blend.coco.segments_png import check_ids, write_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.names import check_file_name, comparison_key, segments_name
from panoptic_blend.structures import IdMap


class TrueSegment(NamedTuple):
    """What an id in a true map means."""

    category_id: int
    is_crowd: bool = False


def segments_info(id_map: IdMap, segments: Mapping[int, TrueSegment]) -> list[dict[str, object]]:
    """COCO's `segments_info` rows of every id in a map but 0, ascending, with area and box measured.

    Args:
        id_map: [H, W].
        segments: what the ids mean; those without a pixel are left out.

    Raises:
        DatasetError: the map has an id that `segments` does not list.
    """
    ids, labels = contiguous_labels(id_map)
    areas = np.bincount(labels.ravel(), minlength=len(ids)).tolist()
    rows: list[dict[str, object]] = []
    for segment_id, area, box in zip(ids.tolist(), areas, label_boxes(labels).tolist(), strict=True):
        if segment_id == 0:
            continue
        if segment_id not in segments:
            raise DatasetError(f"id {segment_id} has {area} pixels in the map, but no category. List it, or paint 0.")
        category_id, is_crowd = segments[segment_id]
        rows.append(
            {
                "id": segment_id,
                "category_id": category_id,
                "iscrowd": int(is_crowd),
                "area": area,
                "bbox": box,
            }
        )
    return rows


class TruthWriter:
    """One split of a data set: `root/annotations/panoptic_SPLIT.json` and `root/panoptic_SPLIT/*.png`.

    PNGs wait in a hidden folder and move to their place when the `with` block ends well, just before the JSON; when it
    does not, nothing is left. Images are numbered from 1 in the order they are added.

        with TruthWriter(Path("data/mine"), "train", categories) as writer:
            writer.write("a/street.jpg", id_map, {7: TrueSegment(category_id=1)})

    Args:
        root: folder of the data set.
        split: its name, normally train or val.
        categories: of the segments.
        info: content of the JSON's `info`, if there is to be one.
    """

    def __init__(self, root: Path, split: str, categories: Categories, info: Mapping[str, object] | None = None):
        self.json_path = root / "annotations" / f"panoptic_{split}.json"
        self.folder = root / f"panoptic_{split}"
        self.categories = categories
        self.info = info
        self._staging: Path | None = None
        self._images: list[str] = []
        self._annotations: list[str] = []
        self._file_names: set[str] = set()
        self._names: set[str] = set()

    def __enter__(self) -> TruthWriter:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._staging = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=self.folder.parent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)
            self._staging = None

    @property
    def staging(self) -> Path:
        """Where PNGs wait, for processes that write some of them."""
        assert self._staging is not None, "use TruthWriter in a with block"
        return self._staging

    def write(self, file_name: str, id_map: IdMap, segments: Mapping[int, TrueSegment]) -> None:
        """Add one image and its map.

        Args:
            file_name: of the image, relative to the images' folder.
            id_map: [H, W], 0 = void.
            segments: what the ids mean.

        Raises:
            DatasetError: an unsafe file name, an image added twice, an id without a meaning or that a PNG cannot hold,
                or an unknown category.
        """
        name = self.free_name(file_name)
        check_ids(id_map, f"{self.json_path}: {file_name}")
        write_id_map(self.staging / name, id_map)
        height, width = id_map.shape
        self.add(file_name, name, width, height, segments_info(id_map, segments))

    def free_name(self, file_name: str) -> str:
        """Take a name for an image's PNG: `a/b.jpg` gets `a/b.png`, or `a/b.jpg.png` when that is taken.

        Raises:
            DatasetError: an unsafe file name, or one that was there before.
        """
        check_file_name(file_name, str(self.json_path))
        if file_name in self._file_names:
            raise DatasetError(f"{self.json_path}: two images are named {file_name!r}. Give every image its own name.")
        self._file_names.add(file_name)
        for name in (segments_name(file_name), f"{file_name}.png"):
            if comparison_key(name) not in self._names:
                self._names.add(comparison_key(name))
                return name
        raise DatasetError(f"{self.json_path}: {file_name!r}: other images took the names of its PNG. Rename it.")

    def add(
        self, file_name: str, segments_file_name: str, width: int, height: int, rows: list[dict[str, object]]
    ) -> None:
        """Add one image whose PNG is in `staging` already, under the name that `free_name` gave.

        Raises:
            DatasetError: a segment of an unknown category.
        """
        for row in rows:
            if not self.categories.has_id(int(str(row["category_id"]))):
                raise DatasetError(
                    f"{self.json_path}: {file_name}: segment {row['id']} has category_id {row['category_id']}, which "
                    "the categories do not list."
                )
        image_id = len(self._images) + 1
        image = {"id": image_id, "file_name": file_name, "width": width, "height": height}
        # As text: a tenth of the memory of the same rows as Python objects.
        self._images.append(json.dumps(image))
        self._annotations.append(
            json.dumps({"image_id": image_id, "file_name": segments_file_name, "segments_info": rows})
        )

    def _publish(self) -> None:
        for png in sorted(self.staging.rglob("*.png")):
            target = self.folder / png.relative_to(self.staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(png, target)
        with atomic_path(self.json_path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write("{")
            if self.info is not None:
                file.write(f'"info": {json.dumps(self.info)},\n')
            file.write('"images": [' + ",\n".join(self._images) + '],\n"annotations": [')
            file.write(",\n".join(self._annotations) + '],\n"categories": ')
            file.write(json.dumps(self.categories.to_json()) + "}\n")
