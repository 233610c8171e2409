"""COCO panoptic annotations: read, checked, and compact in memory."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotation_rows import parse_annotations
from panoptic_blend.coco.index_cache import KeptIndex, first_to_read, keep_index, read_index, stamp_to_keep
from panoptic_blend.coco.json_reading import LISTS, make_index, read_json
from panoptic_blend.coco.json_rows import (
    ImageRows,
    check_same_pictures,
    name_images,
    names_by_id,
)
from panoptic_blend.coco.left_out import BadSample, ImageId, LeftOut, OnBadSample
from panoptic_blend.coco.table import Index, TextsBuilder
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.long_json import LongJson
from panoptic_blend.files.stamps import Stamp


@dataclass(frozen=True)
class SegmentRecord:
    """One row of `segments_info`.

    Attributes:
        id: value of its pixels in the id map, 1..256^3-1.
        category_id: dataset category id.
        is_crowd: a group of things nobody told apart; ignored in training and scoring.
        area: pixels as the file says, -1 where it does not.
        bbox: XYWH pixels as the file says, zeros where it does not.
        score: 0..1 of a prediction, None where the file does not say.
    """

    id: int
    category_id: int
    is_crowd: bool
    area: int
    bbox: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True)
class ImageRecord:
    """One image and its segments.

    Attributes:
        image_id: a number, or a text (Cityscapes).
        file_name: of the image, relative to the images' folder.
        width, height: pixels.
        segments_file_name: of the id-map PNG, relative to the segments' folder; "" when there is no annotation.
        video_id, frame_id: of which film it is which frame; None where it is of none.
    """

    image_id: ImageId
    file_name: str
    width: int
    height: int
    segments_file_name: str
    segments: list[SegmentRecord]
    video_id: ImageId | None = None
    frame_id: int | None = None


class PanopticAnnotations(Sequence[ImageRecord]):
    """The content of a COCO panoptic JSON, image by image in the order of its `images`.

    Kept as flat arrays: 118,000 images take some tens of megabytes. Those of a large file are mapped into memory from
    beside it (see `index_cache`): all processes of a machine share them, and pickles name the file instead of holding
    them.
    """

    def __init__(
        self,
        path: Path,
        categories: Categories | None,
        index: Index,
        has_segments: bool,
        left_out: Sequence[BadSample] = (),
        kept_for: Stamp | None = None,
    ):
        self.path = path
        self.left_out = left_out
        """Images of the file that are not here, since their rows do not hold together."""
        self.has_segments = has_segments
        """False for an image-info JSON (COCO's test sets), which lists images only."""
        self._categories = categories
        self._index = index
        self._kept_for = kept_for  # the JSON's stamp, where `index` is mapped from beside it

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_index" or self._kept_for is None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._kept_for is not None:
            kept = read_index(self.path)
            if kept is None or kept.kept_for != self._kept_for:
                raise DatasetError(f"{self.path}: was changed while it was in use. Give the command again.")
            self._index = kept.index

    @classmethod
    def load(cls, path: Path | str, on_bad_sample: OnBadSample = "raise") -> PanopticAnnotations:
        """Read and check a COCO panoptic JSON, or an image-info JSON (no `annotations`).

        The id-map PNGs are not opened; `id_maps.read_segments` checks them one by one. What was read of a large file is
        kept beside it (see `index_cache`), and is opened at once as long as the file does not change. Of processes that
        ask for it together, one reads it and the others wait.

        Args:
            on_bad_sample: stop at an image whose rows do not hold together, or leave such images out.

        Raises:
            DatasetError: the file cannot be read, is no such JSON, or its categories do not hold together; with
                "raise", some image does not.
        """
        path = Path(path)
        kept = read_index(path)
        if kept is None and stamp_to_keep(path) is not None:
            with first_to_read(path) as is_first:
                kept = read_index(path)  # the first may have kept it since
                if kept is None and is_first:
                    return cls._read_and_keep(path, on_bad_sample)
        return cls._read_and_keep(path, on_bad_sample) if kept is None else cls._of_kept(path, kept)

    @classmethod
    def _read_and_keep(cls, path: Path, on_bad_sample: OnBadSample) -> PanopticAnnotations:
        before = stamp_to_keep(path)
        index, categories, has_segments, left_out = read_json(path, on_bad_sample)
        if before is not None and not left_out:
            keep_index(path, before, index, categories, has_segments)
            kept = read_index(path)
            if kept is not None:  # from here on as at any later start: one copy for all processes
                return cls._of_kept(path, kept)
        return cls(path, categories, index, has_segments, left_out)

    @classmethod
    def _of_kept(cls, path: Path, kept: KeptIndex) -> PanopticAnnotations:
        return cls(path, kept.categories, kept.index, kept.has_segments, kept_for=kept.kept_for)

    @classmethod
    def load_predictions(cls, path: Path | str, truth: PanopticAnnotations) -> PanopticAnnotations:
        """Read predictions for the images of `truth`, in its order; predictions for other images are passed over.

        Raises:
            DatasetError: the file does not hold together, its own categories or file names contradict those of
                `truth`, or images have no prediction.
        """
        path = Path(path)
        data = LongJson(path, LISTS)
        names_here = names_by_id(data.content.get("categories"))
        contradictions = truth.categories.contradictions(names_here, "the predictions", "the truth")
        if contradictions:
            raise DatasetError(
                f"{path}: its categories are not those of the truth, {truth.path}: {contradictions}. Give the segments "
                "the category ids of the truth; if only names are spelt differently, correct them or leave "
                "'categories' out."
            )
        images = truth._image_rows()
        if "images" in data and "images" not in data.content:  # a list
            check_same_pictures(data.rows("images"), images, path, truth.path)
        table, names = parse_annotations(
            data.rows("annotations"), images, truth.categories, str(path), LeftOut(), truth=str(truth.path)
        )
        missing = np.flatnonzero(table.first < 0).tolist()
        if missing:
            raise DatasetError(
                f"{path}: no prediction for {name_images(missing, images)} of {truth.path}. Predict every image."
            )
        return cls(path, truth.categories, make_index(images, table.build(), names), has_segments=True)

    @property
    def has_categories(self) -> bool:
        """False for an image-info JSON that leaves its categories out."""
        return self._categories is not None

    @property
    def categories(self) -> Categories:
        """What the file says its segments can be.

        Raises:
            DatasetError: an image-info JSON without categories.
        """
        if self._categories is None:
            raise DatasetError(f"{self.path}: has no 'categories'. Add them, or take the model's.")
        return self._categories

    @property
    def default_segments_folder(self) -> Path:
        """Where the id-map PNGs lie unless told otherwise.

        `annotations/panoptic_val.json` has its own in `annotations/panoptic_val/`, or in `panoptic_val/` beside
        `annotations/`: COCO's archives get unpacked in both places.
        """
        inside = self.path.with_suffix("")
        beside = self.path.parent.parent / inside.name
        return beside if beside.is_dir() and not inside.is_dir() else inside

    @property
    def image_ids(self) -> list[ImageId]:
        """Of every image."""
        return [json.loads(text) for text in self._index.image_ids]

    @property
    def segments_file_names(self) -> Sequence[str]:
        """Of every image's id-map PNG, relative to the segments' folder."""
        return self._index.segments_file_names

    def only(self, images: Sequence[int]) -> PanopticAnnotations:
        """Some of the images, in a copy that is small enough to be sent to another process.

        Args:
            images: their positions, one at least.
        """
        return PanopticAnnotations(self.path, self._categories, self._index.only(images), self.has_segments)

    def __len__(self) -> int:
        return len(self._index.file_names)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # int or slice, as in any Sequence
        if isinstance(index, slice):
            return [self._record(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return self._record(int(index) % len(self))

    def _record(self, image: int) -> ImageRecord:
        index, table = self._index, self._index.segments
        rows = table.of_image(image)
        columns = (table.categories, table.ids, table.crowds, table.areas, table.boxes, table.scores)
        segments = [
            SegmentRecord(
                segment_id,
                self.categories[category].id,
                is_crowd,
                area,
                tuple(box),
                None if math.isnan(score) else round(score, 6),
            )
            for category, segment_id, is_crowd, area, box, score in zip(
                *(c[rows].tolist() for c in columns), strict=True
            )
        ]
        width, height = index.sizes[:, image].tolist()
        return ImageRecord(
            image_id=json.loads(index.image_ids[image]),
            file_name=index.file_names[image],
            width=width,
            height=height,
            segments_file_name=index.segments_file_names[image],
            segments=segments,
            video_id=json.loads(index.video_ids[image]) if len(index.video_ids) else None,
            frame_id=_known(int(index.frame_ids[image])) if len(index.frame_ids) else None,
        )

    def _image_rows(self) -> ImageRows:
        ids = self.image_ids
        return ImageRows(
            ids=ids,
            file_names=TextsBuilder(self._index.file_names),
            widths=array("q", self._index.sizes[0].tobytes()),
            heights=array("q", self._index.sizes[1].tobytes()),
            positions={image_id: position for position, image_id in enumerate(ids)},
        )


def _known(frame_id: int) -> int | None:
    return None if frame_id < 0 else frame_id
