"""Reads a COCO panoptic JSON and checks its images and categories; complaints name the file, the row and the remedy."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.categories import Categories
from panoptic_blend.coco.left_out import ImageId, LeftOut
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import check_file_name

MAX_SIDE = 2**31 - 1


@dataclass
class ImageRows:
    """The `images` list, column by column, in the file's order."""

    ids: list[ImageId]
    file_names: list[str]
    widths: list[int]
    heights: list[int]
    video_ids: list[ImageId | None]
    frame_ids: list[int | None]

    def only(self, positions: Sequence[int]) -> ImageRows:
        """The rows at these positions."""
        columns = (self.ids, self.file_names, self.widths, self.heights, self.video_ids, self.frame_ids)
        return ImageRows(*([column[p] for p in positions] for column in columns))  # type: ignore[arg-type]


def read_json(path: Path, what: str = "a COCO panoptic JSON", encoding: str = "utf-8-sig") -> dict[str, object]:
    """Decode a JSON file whose top level is an object.

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
    # Millions of new objects make the cycle collector run over and over, though decoded JSON has no cycles; without
    # it a COCO-sized file loads in two thirds of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not valid JSON ({error}). Export or download it again.") from error
    finally:
        if collecting:
            gc.enable()
    if not isinstance(data, dict):
        raise DatasetError(f"{path}: holds a {type(data).__name__}, not an object. Give {what}.")
    return data


def parse_images(rows: object, source: str, left_out: LeftOut) -> ImageRows:
    """Check an `images` list.

    Args:
        left_out: takes the images with a field that is missing or of the wrong type, with the id of another image,
            or with a file name that leaves its folder.

    Raises:
        DatasetError: this is no list, or what `left_out` raises.
    """
    images = ImageRows([], [], [], [], [], [])
    seen: set[ImageId] = set()
    for position, row in enumerate(as_list(rows, "images", source)):
        where = f"{source}: images[{position}]"
        image_id: ImageId | None = None
        try:
            if not isinstance(row, dict):
                raise DatasetError(
                    f"{where} must be an object with id, file_name, width and height, found {row!r:.80}."
                )
            image_id = read_image_id(row.get("id"), "id", where)
            if image_id in seen:
                raise DatasetError(
                    f"{where}: image id {image_id!r} appears more than once. Give every image its own id."
                )
            seen.add(image_id)
            file_name = check_file_name(row.get("file_name"), where)
            width, height = (_side(row, field, f"{where} (id {image_id!r})") for field in ("width", "height"))
            video_id, frame_id = _read_frame(row, f"{where} (id {image_id!r})")
        except DatasetError as fault:
            left_out.add(fault, f"images[{position}]", image_id)
            continue
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


def names_by_id(rows: object) -> dict[int, str]:
    """Category names by id, as far as a list that nobody vouches for says them."""
    return {
        row["id"]: row["name"]
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and type(row.get("id")) is int and isinstance(row.get("name"), str)
    }


def _side(row: dict[str, object], field: str, where: str) -> int:
    value = row.get(field)
    if type(value) is not int or not 1 <= value <= MAX_SIDE:
        raise DatasetError(f"{where}: {field!r} must be a positive integer, found {value!r}.")
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


def as_list(rows: object, field: str, source: str) -> list[object]:
    """The rows of a field; `DatasetError` when it is no list."""
    if not isinstance(rows, list):
        raise DatasetError(
            f"{source}: {field!r} must be a list, found {type(rows).__name__}. Give a COCO panoptic JSON."
        )
    return rows
