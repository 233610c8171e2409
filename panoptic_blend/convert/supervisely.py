"""Supervisely's projects: polygons, and bitmaps as PNGs in base64."""

from __future__ import annotations

import glob
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from panoptic_blend.convert.fields import field, points_of, read_json_file, size_field
from panoptic_blend.convert.files import hex_color, split_of_folder, visible
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.shapes import add_placed, bytes_of_base64, check_area, mask_of_png
from panoptic_blend.convert.source import (
    ImageLabels,
    Region,
    SourceCategory,
    SourceImage,
    cut_outline,
    region_from_mask,
)
from panoptic_blend.errors import DatasetError

_MOST_BYTES = 2**26
"""Of a bitmap's PNG: more is a bomb."""


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return (source / "meta.json").is_file() and bool(_folders(source))


def _folders(source: Path) -> list[Path]:
    """Those with annotations: data sets `NAME`, and in these others as `NAME/datasets/NAME`."""
    return [path.parent for pattern in ("*/ann", "*/**/datasets/*/ann") for path in visible(source, pattern)]


def open_source(source: Path, options: FormatOptions) -> Supervisely:
    """`meta.json`, and in each folder of the data set `img/NAME` and `ann/NAME.json` (in old ones `ann/STEM.json`).

    Folders named as splits (train, val, test...) are splits, with the data sets nested in them.

    Raises:
        DatasetError: no such folders, or an annotation without its image.
    """
    path = source / "meta.json"
    classes = field(read_json_file(path, "a project of Supervisely"), "classes", list, str(path))
    categories = [_category(row, f"{path}: classes[{number}]") for number, row in enumerate(classes)]
    folders = _folders(source)
    images, files = [], []
    for folder in folders:
        place = folder.relative_to(source)
        split = split_of_folder(place.parts[0])
        split = split if split in ("train", "val", "test") else ""
        for file in visible(folder / "ann", "*.json"):
            pictures = options.images / place if options.images else folder / "img"
            like = [pictures / file.stem, *sorted(pictures.glob(f"{glob.escape(file.stem)}.*"))]
            image = next((each for each in like if each.is_file()), None)
            if image is None:
                raise DatasetError(f"{file}: its image {pictures / file.stem} is missing. Add it, or remove the file.")
            alone = len(folders) == 1 or (split and len(place.parts) == 1)
            name = image.name if alone else f"{place.as_posix()}/{image.name}"
            images.append(SourceImage(image, name, split))
            files.append(file)
    if not files:
        raise DatasetError(f"{source}: no folder in it has ann/*.json.")
    return Supervisely(categories, images, files)


@dataclass(frozen=True)
class Supervisely:
    """A data set of this format; see `Source`.

    Attributes:
        files: JSON of each image.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    files: list[Path]

    def read(self, index: int) -> ImageLabels:
        """The objects of one image."""
        path = self.files[index]
        content = read_json_file(path, "an annotation of Supervisely")
        height, width = size_field(field(content, "size", dict, str(path)), "height", "width", f"{path}: size")
        check_area(height, width, str(path))
        labels, names = ImageLabels(height, width), {each.name for each in self.categories}
        for position, row in enumerate(field(content, "objects", list, str(path))):
            where = f"{path}: objects[{position}]"
            category = field(row, "classTitle", str, where)
            if category not in names:
                raise DatasetError(f"{where}: the class {category!r} is not in meta.json. Add it there.")
            _add(labels, category, row, where, f"object {position + 1} ({category!r})")
        return labels


def _add(labels: ImageLabels, category: str, row: object, where: str, what: str) -> None:
    kind = field(row, "geometryType", str, where, "polygon")
    if kind == "polygon":
        points = field(row, "points", dict, where)
        outline = points_of(points.get("exterior"), f"{where}: exterior")
        if len(outline) < 6:
            labels.lost.append(f"{what}: a polygon of {len(outline) // 2} points, which has no area")
            return
        holes = field(points, "interior", list, where, [])
        region = _fill(category, outline, [points_of(hole, f"{where}: interior") for hole in holes], labels)
        labels.add(region, what)
    elif kind == "bitmap":
        bitmap = field(row, "bitmap", dict, where)
        left, top = map(round, points_of([bitmap.get("origin")], f"{where}: origin"))
        packed = bytes_of_base64(field(bitmap, "data", str, where), where)
        add_placed(labels, category, mask_of_png(_unpack(packed, where), where), top, left, what)
    else:
        labels.lost.append(f"{what}: a {kind}, which is no mask")


def _fill(category: str, outline: list[float], holes: list[list[float]], labels: ImageLabels) -> Region | None:
    """Fill a polygon whose points are pixels, which belong to it; those of its holes do not."""
    limit = np.array([labels.width, labels.height])
    corners = np.reshape(outline, (-1, 2))
    start = np.clip(np.rint(corners.min(axis=0)), 0, limit).astype(int)
    end = np.clip(np.rint(corners.max(axis=0)) + 1, 0, limit).astype(int)
    if (end <= start).any():
        return None
    canvas = Image.new("1", tuple((end - start).tolist()))
    draw = ImageDraw.Draw(canvas)
    for points, is_inside in [(outline, 1), *((hole, 0) for hole in holes)]:
        near = cut_outline(np.rint(np.reshape(points, (-1, 2))), labels.height, labels.width)
        if len(near) >= 3:
            draw.polygon((near - start).ravel().tolist(), fill=is_inside, outline=is_inside)
    return region_from_mask(category, np.array(canvas), top=int(start[1]), left=int(start[0]))


def _unpack(packed: bytes, where: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, _MOST_BYTES)
    except zlib.error as error:
        raise DatasetError(f"{where}: the bitmap cannot be unpacked ({error}).") from error
    if not stream.eof:
        raise DatasetError(f"{where}: the bitmap is cut off, or far larger than any mask.")
    return content


def _category(row: object, where: str) -> SourceCategory:
    name, color = field(row, "title", str, where), field(row, "color", str, where, "")
    return SourceCategory(name, True, color=hex_color(color))
