"""Reads a COCO panoptic JSON and checks its images and categories; complaints name the file, the row and the remedy."""

from __future__ import annotations

import json
import logging
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from panoptic_blend.categories import Categories
from panoptic_blend.coco.left_out import ImageId, LeftOut
from panoptic_blend.coco.table import TextsBuilder
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import check_file_name

MAX_SIDE = 2**31 - 1


@dataclass
class ImageRows:
    """The `images` list, column by column, in the file's order.

    Attributes:
        positions: where each id is.
    """

    ids: list[ImageId] = field(default_factory=list)
    file_names: TextsBuilder = field(default_factory=TextsBuilder)
    widths: array[int] = field(default_factory=lambda: array("q"))
    heights: array[int] = field(default_factory=lambda: array("q"))
    video_ids: list[ImageId | None] = field(default_factory=list)
    frame_ids: list[int | None] = field(default_factory=list)
    positions: dict[ImageId, int] = field(default_factory=dict)


def read_json(path: Path, what: str, encoding: str = "utf-8-sig") -> dict[str, object]:
    """Decode a JSON file whose top level is an object, a small one; see `LongJson` for others.

    Args:
        what: the file should be, for error messages.
        encoding: of its text.

    Raises:
        DatasetError: the file is missing, not JSON, or not an object.
    """
    try:
        text = path.read_text(encoding=encoding)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file. Give the path of {what}.") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not valid JSON ({error}). Export or download it again.") from error
    if not isinstance(data, dict):
        raise DatasetError(f"{path}: holds a {type(data).__name__}, not an object. Give {what}.")
    return data


def parse_images(rows: Iterable[object], source: str, left_out: LeftOut) -> ImageRows:
    """Check an `images` list.

    Args:
        rows: the decoded list.
        left_out: takes the images with a field that is missing or of the wrong type, with the id of another image,
            or with a file name that leaves its folder.

    Raises:
        DatasetError: what `left_out` raises.
    """
    images = ImageRows()
    for position, row in enumerate(rows):
        where = f"{source}: images[{position}]"
        image_id: ImageId | None = None
        try:
            if not isinstance(row, dict):
                raise DatasetError(
                    f"{where} must be an object with id, file_name, width and height, found {row!r:.80}."
                )
            image_id = read_image_id(row.get("id"), "id", where)
            if image_id in images.positions or image_id in left_out.ids:
                raise DatasetError(
                    f"{where}: image id {image_id!r} appears more than once. Give every image its own id."
                )
            file_name = check_file_name(row.get("file_name"), where)
            width, height = (_side(row, side, f"{where} (id {image_id!r})") for side in ("width", "height"))
            video_id, frame_id = _read_frame(row, f"{where} (id {image_id!r})")
        except DatasetError as fault:
            left_out.add(fault, f"images[{position}]", image_id)
            continue
        images.positions[image_id] = len(images.ids)
        images.ids.append(image_id)
        images.file_names.append(file_name)
        images.widths.append(width)
        images.heights.append(height)
        images.video_ids.append(video_id)
        images.frame_ids.append(frame_id)
    return images


def check_categories(rows: object, source: str) -> Categories:
    """Read a panoptic `categories` list, in which every row must say whether it is a thing.

    Raises:
        DatasetError: see `Categories.from_json`; or a row has no `isthing`.
    """
    categories = Categories.from_json(rows, source)
    for row in rows if isinstance(rows, list) else ():
        if "isthing" not in row:
            raise DatasetError(
                f"{source}: category {row['id']} ({row['name']!r}) has no 'isthing'. Write 1 for things and 0 for "
                "stuff; if this is an instances file, give the panoptic JSON."
            )
    return categories


def name_images(positions: Sequence[int], images: ImageRows) -> str:
    """The first few of some images, by id and file name."""
    shown = ", ".join(f"image {images.ids[i]} ({images.file_names[i]})" for i in positions[:5])
    return f"{shown} and {len(positions) - 5} more" if len(positions) > 5 else shown


def check_same_pictures(rows: Iterable[object], images: ImageRows, path: Path, truth: Path) -> None:
    """Hold the names that predictions give their images against the truth's: an id may be that of another picture.

    Names that the truth does not have are passed over, since files get renamed; where all are such, a warning says so.

    Args:
        rows: the predictions' `images`, which nobody vouches for.
        images: of the truth.
        path: of the predictions.
        truth: its path.

    Raises:
        DatasetError: an image has the name of another one of the truth.
    """
    by_name: dict[str, int] = {}
    same = other = 0
    for row in rows:
        image_id, name = (row.get("id"), row.get("file_name")) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(image_id, (int, str)) or image_id not in images.positions:
            continue
        own = images.file_names[images.positions[image_id]]
        if _stem(name) == _stem(own):
            same += 1
            continue
        other += 1
        by_name = by_name or {_stem(images.file_names[position]): position for position in range(len(images.ids))}
        if _stem(name) in by_name:
            raise DatasetError(
                f"{path}: its image {image_id} is {name}, but {truth} has {name} as image "
                f"{images.ids[by_name[_stem(name)]]}, and {own} as image {image_id}. Give images the ids of the truth: "
                "`evaluate` does, and `predict` where it is given the truth's JSON."
            )
    if other and not same:
        logging.getLogger(__name__).warning(f"{path}: has other file names than {truth}. Are these the same pictures?")


def _stem(file_name: str) -> str:
    return PurePosixPath(file_name.replace("\\", "/")).stem


def names_by_id(rows: object) -> dict[int, str]:
    """Category names by id, as far as a list that nobody vouches for says them."""
    return {
        row["id"]: row["name"]
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and type(row.get("id")) is int and isinstance(row.get("name"), str)
    }


def _side(row: dict[str, object], side: str, where: str) -> int:
    value = row.get(side)
    if type(value) is not int or not 1 <= value <= MAX_SIDE:
        raise DatasetError(f"{where}: {side!r} must be a positive integer, found {value!r}.")
    return value


def _read_frame(row: dict[str, object], where: str) -> tuple[ImageId | None, int | None]:
    """Of which film an image is which frame, where it is of one."""
    film, frame = row.get("video_id"), row.get("frame_id")
    if frame is not None and (type(frame) is not int or not 0 <= frame < 2**63):
        raise DatasetError(f"{where}: 'frame_id' must be a whole number from 0 on, found {frame!r:.80}.")
    return None if film is None else read_image_id(film, "video_id", where), frame


def read_image_id(value: object, field: str, where: str) -> ImageId:
    """An image's id; `DatasetError` when it is neither a number nor a text."""
    # Cityscapes' panoptic files name images by text, everybody else by number.
    if type(value) is int or (isinstance(value, str) and value):
        return value
    raise DatasetError(f"{where}: {field!r} must be an integer or a text, found {value!r:.80}.")
