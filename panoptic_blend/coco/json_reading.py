"""From a COCO panoptic JSON to the columns that are kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotation_rows import check_complete, parse_annotations
from panoptic_blend.coco.json_rows import ImageRows, check_categories, parse_images
from panoptic_blend.coco.left_out import BadSample, ImageId, LeftOut, OnBadSample
from panoptic_blend.coco.table import Index, SegmentTable, SegmentTableBuilder, Texts, TextsBuilder
from panoptic_blend.files.long_json import LongJson

LISTS = ("images", "annotations")
"""Fields of a COCO JSON that may be too long to be decoded at once."""


def read_json(path: Path, on_bad_sample: OnBadSample) -> tuple[Index, Categories | None, bool, Sequence[BadSample]]:
    """Read and check a COCO panoptic JSON.

    Returns:
        What it says, its categories, whether it has segments, and what is left out.

    Raises:
        DatasetError: as `PanopticAnnotations.load`.
    """
    data = LongJson(path, LISTS)
    source, left_out = str(path), LeftOut(on_bad_sample)
    images = parse_images(data.rows("images"), source, left_out)
    has_segments = "annotations" in data
    categories: Categories | None
    if has_segments:
        categories = check_categories(data.content.get("categories"), source)
        builder, names = parse_annotations(data.rows("annotations"), images, categories, source, left_out)
        check_complete(builder, images, source, left_out)
    else:
        categories = Categories.from_json(data.content["categories"], source) if "categories" in data else None
        builder, names = SegmentTableBuilder(len(images.ids)), TextsBuilder([""] * len(images.ids)).build()
    index = make_index(images, builder.build(), names)
    if left_out.ids:
        good = [position for position, image_id in enumerate(images.ids) if image_id not in left_out.ids]
        index = index.only(good)
    return index, categories, has_segments, left_out.samples


def make_index(images: ImageRows, segments: SegmentTable, segments_file_names: Texts) -> Index:
    """Images and their segments as columns."""
    has_films = any(each is not None for column in (images.video_ids, images.frame_ids) for each in column)
    return Index(
        image_ids=_as_json(images.ids),
        file_names=images.file_names.build(),
        segments_file_names=segments_file_names,
        sizes=np.array([images.widths, images.heights], np.int64),
        segments=segments,
        video_ids=_as_json(images.video_ids if has_films else ()),
        frame_ids=np.array([-1 if i is None else i for i in images.frame_ids] if has_films else (), np.int64),
    )


def _as_json(ids: Iterable[ImageId | None]) -> Texts:
    return TextsBuilder(str(i) if type(i) is int else json.dumps(i) for i in ids).build()
