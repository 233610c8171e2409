"""Checks the rows of `annotations` and `segments_info`, and brings them into columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.json_rows import ImageRows, name_images, read_image_id
from panoptic_blend.coco.left_out import ImageId, LeftOut
from panoptic_blend.coco.segments_png import MAX_ID
from panoptic_blend.coco.table import SegmentTableBuilder, Texts, TextsBuilder
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import check_file_name

_MAX_COORDINATE = 2.0**31


def parse_annotations(
    rows: Iterable[object],
    images: ImageRows,
    categories: Categories,
    source: str,
    left_out: LeftOut,
    *,
    truth: str = "",
) -> tuple[SegmentTableBuilder, Texts]:
    """Check an `annotations` list and gather its segments image by image.

    Args:
        rows: the decoded list.
        images: what the rows belong to.
        left_out: takes the images whose rows do not hold together, and rows without an image; rows of images that it
            has already are passed over.
        truth: when reading predictions, the file that lists images and categories. Only id, category and score of a
            segment count then (whatever else is there is passed over), and rows of other images are passed over.

    Returns:
        The table under construction (`first` is -1 for images without a row), and PNG names by image position.

    Raises:
        DatasetError: what `left_out` raises.
    """
    spelling = _Spelling(images)
    order = {category.id: position for position, category in enumerate(categories)}
    table = SegmentTableBuilder(len(images.ids))
    names = TextsBuilder()
    name_of = np.full(len(images.ids), -1, np.int64)
    for position, row in enumerate(rows):
        where = f"{source}: annotations[{position}]"
        image_id: ImageId | None = None
        image: int | None = None
        segments_before = len(table.ids)
        try:
            if not isinstance(row, dict):
                raise DatasetError(
                    f"{where} must be an object with image_id, file_name and segments_info, found {row!r:.80}."
                )
            image_id = read_image_id(row.get("image_id"), "image_id", where)
            if image_id in left_out.ids:
                continue
            image = images.positions.get(image_id)
            _check_segments_info(row, where)
            if image is None:
                spelling.check(image_id, truth or "'images'", where)
                if truth:
                    continue
                raise DatasetError(
                    f"{where}: image {image_id!r} is not in 'images'. List it there or drop the annotation."
                )
            where = f"{source}: image {image_id}"
            if table.first[image] >= 0:
                raise DatasetError(f"{where} has more than one annotation. Keep one.")
            name = check_file_name(row.get("file_name"), f"{where}: annotation")
            _add_segments(table, image, row["segments_info"], order, where, truth)
            if not truth:
                _check_areas(table, image, images, where)
            name_of[image] = len(names)
            names.append(name)
        except DatasetError as fault:
            table.cut(segments_before)
            left_out.add(fault, f"annotations[{position}]" if image is None else images.file_names[image], image_id)
    return table, _arrange(names, name_of)


def check_complete(table: SegmentTableBuilder, images: ImageRows, source: str, left_out: LeftOut) -> None:
    """Hand images without an annotation to `left_out`.

    Raises:
        DatasetError: what `left_out` raises.
    """
    missing = [int(image) for image in np.flatnonzero(table.first < 0) if images.ids[image] not in left_out.ids]
    # All in one sentence, where the first fault ends the reading.
    for some in [missing] if left_out.raises and missing else [[image] for image in missing]:
        named = name_images(some, images)
        fault = DatasetError(f"{source}: no annotation for {named}. Add one, or drop it from 'images'.")
        left_out.add(fault, images.file_names[some[0]], images.ids[some[0]])


def _check_areas(table: SegmentTableBuilder, image: int, images: ImageRows, where: str) -> None:
    """Raise `DatasetError` when a segment claims more pixels than its image has."""
    limit = images.widths[image] * images.heights[image]
    areas = table.areas[int(table.first[image]) :]
    if areas and max(areas) > limit:
        segment = table.ids[int(table.first[image]) + areas.index(max(areas))]
        raise DatasetError(
            f"{where}: segment {segment} has area {max(areas)}, but the image is {images.widths[image]} x "
            f"{images.heights[image]}. Write its number of pixels, or leave 'area' out."
        )


def _arrange(texts: TextsBuilder, order: npt.NDArray[np.int64]) -> Texts:
    """The texts at these positions; "" for -1."""
    if np.array_equal(order, np.arange(len(texts))):  # as a rule, images and annotations have one order
        return texts.build()
    return TextsBuilder(texts[i] if i >= 0 else "" for i in order.tolist()).build()


def _check_segments_info(row: dict[str, object], where: str) -> None:
    segments = row.get("segments_info")
    if not isinstance(segments, list):
        raise DatasetError(
            f"{where}: 'segments_info' must be a list, found {segments!r:.80}. If this is an instances file, give "
            "the panoptic JSON."
        )


class _Spelling:
    """Tells ids of images that are a number in one place, and in another a text."""

    def __init__(self, images: ImageRows):
        self._images = images

    def check(self, image_id: ImageId, images: str, where: str) -> None:
        """Raise `DatasetError` when an id that is not there is there as a number instead of a text, or vice versa.

        Args:
            images: what error messages call the place that lists the images.
        """
        same: ImageId | None
        if isinstance(image_id, int):
            same = self._numbers.get(image_id)
        else:
            same = int(image_id) if _is_number(image_id) and int(image_id) in self._images.positions else None
        if same is not None:
            kinds = ("the number", "the text") if isinstance(image_id, int) else ("the text", "the number")
            raise DatasetError(
                f"{where}: image_id is {kinds[0]} {image_id!r}, but {images} has {kinds[1]} {same!r} as the image's "
                "id. Write the ids of images in one way everywhere."
            )

    @cached_property
    def _numbers(self) -> Mapping[int, str]:
        """The texts that spell a number."""
        return {int(i): i for i in self._images.ids if isinstance(i, str) and _is_number(i)}


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 20  # longer ones are no ids, and slow to convert


def _add_segments(
    table: SegmentTableBuilder, image: int, rows: list[object], order: Mapping[int, int], where: str, truth: str
) -> None:
    first = len(table.ids)
    table.first[image] = first
    for row in rows:
        _add_segment(table, row, order, where, truth)
    ids = table.ids[first:]
    table.count[image] = len(ids)
    if len(set(ids)) < len(ids):
        twice = sorted({i for i in ids if ids.count(i) > 1})
        raise DatasetError(f"{where}: segment ids {twice} appear more than once. Give every segment its own id.")


def _add_segment(table: SegmentTableBuilder, row: object, order: Mapping[int, int], where: str, truth: str) -> None:
    if not isinstance(row, dict):
        raise DatasetError(f"{where}: a segment must be an object with id and category_id, found {row!r:.80}.")
    segment_id, category_id = row.get("id"), row.get("category_id")
    if type(segment_id) is not int or not 1 <= segment_id <= MAX_ID:
        raise DatasetError(
            f"{where}: a segment 'id' must be an integer in 1..{MAX_ID}, which a PNG can hold, found "
            f"{segment_id!r:.80}. Number the segments of each image from 1, in its PNG as well."
        )
    category = order.get(category_id) if type(category_id) is int else None
    if category is None:
        lists = (
            f"{truth} does not list. Predict with its categories"
            if truth
            else ("'categories' does not list. Add the category or correct the id")
        )
        raise DatasetError(f"{where}: segment {segment_id} has category_id {category_id!r:.80}, which {lists}.")
    table.ids.append(segment_id)
    table.categories.append(category)
    score = row.get("score")
    table.scores.append(score if isinstance(score, (int, float)) and 0 <= score <= 1 else math.nan)
    if truth:
        table.crowds.append(0)
        table.areas.append(-1)
        table.boxes.extend((0, 0, 0, 0))
        return
    is_crowd, area, box = row.get("iscrowd", 0), row.get("area", -1), row.get("bbox")
    if type(is_crowd) not in (int, bool) or is_crowd not in (0, 1):
        raise DatasetError(f"{where}: segment {segment_id}: 'iscrowd' must be 0 or 1, found {is_crowd!r:.80}.")
    if isinstance(area, float) and area.is_integer():
        area = int(area)
    if "area" in row and (type(area) is not int or not 0 <= area < 2**63):
        raise DatasetError(
            f"{where}: segment {segment_id}: 'area' must be its number of pixels, an integer, found {area!r:.80}."
        )
    if "bbox" not in row:
        box = (0, 0, 0, 0)
    elif not isinstance(box, list) or len(box) != 4 or not all(_is_coordinate(value) for value in box):
        raise DatasetError(f"{where}: segment {segment_id}: 'bbox' must be [x, y, width, height], found {box!r:.80}.")
    table.crowds.append(is_crowd)
    table.areas.append(area)
    table.boxes.extend(box)


def _is_coordinate(value: object) -> bool:
    return type(value) in (int, float) and -_MAX_COORDINATE <= value <= _MAX_COORDINATE  # type: ignore[operator]
