"""LabelMe: wkentaro's JSON beside every image, or the XML of the older web tool."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from panoptic_blend.convert.fields import field, has_words, points_of, read_json_file, size_field
from panoptic_blend.convert.files import image_name, read_map, require_folder, visible
from panoptic_blend.convert.names import VOID_NAMES
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.shapes import (
    add_ellipse,
    add_placed,
    add_polygons,
    bytes_of_base64,
    check_area,
    join_groups,
    mask_of_png,
)
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage, region_from_mask
from panoptic_blend.convert.xml import number, read_xml, text_of
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import check_image
from panoptic_blend.files.names import check_file_name

CROWD = "crowd"
"""Flag of a shape that outlines several objects."""
_NO_AREA = ("point", "points", "line", "linestrip")


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    if not source.is_dir():
        return False
    return bool(_xml_files(source)) or any(
        has_words(path, b'"shapes"', b'"imagePath"') for path in visible(source, "**/*.json")
    )


def open_source(source: Path, options: FormatOptions) -> LabelMe:
    """A JSON for every image, which says where it lies; or `Annotations/`, `Images/` and `Masks/` of XML.

    Shapes of one group and one label are one object. The flag `crowd` says that a shape is several objects.

    Raises:
        DatasetError: there are neither, or a file cannot be read.
    """
    names: set[str] = set()
    images: list[SourceImage] = []
    files: list[Path] = []
    for path in visible(require_folder(source), "**/*.json"):
        content = read_json_file(path, "a LabelMe JSON")
        if not isinstance(content, dict) or "shapes" not in content:
            continue
        names |= {_label(shape, path) for shape in field(content, "shapes", list, str(path))}
        images.append(_image_of_json(source, path, content, options.images))
        files.append(path)
    if not files:
        for path in _xml_files(source):
            root = read_xml(path)
            names |= {text_of(each, "name") for each in _objects(root)}
            images.append(_image_of_xml(source, path, root, options.images))
            files.append(path)
    if not files:
        raise DatasetError(f"{source}: no LabelMe files here: neither JSON with 'shapes' nor XML in Annotations/.")
    categories = [SourceCategory(name, True) for name in sorted(names) if name.casefold() not in VOID_NAMES]
    return LabelMe(categories, images, files, source)


@dataclass(frozen=True)
class LabelMe:
    """A data set of this format; see `Source`.

    Attributes:
        files: JSON or XML of each image.
        root: folder of the data set.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    files: list[Path]
    root: Path

    def read(self, index: int) -> ImageLabels:
        """The shapes of one image."""
        path, image = self.files[index], self.images[index].path
        if path.suffix == ".json":
            return _shapes(read_json_file(path, "a LabelMe JSON"), path, image)
        return _xml_shapes(read_xml(path), path, image, self.root)


def _xml_files(source: Path) -> list[Path]:
    folder = source / "Annotations"
    if not (source / "Images").is_dir():
        return []
    return [path for path in visible(folder, "**/*.xml") if has_words(path, b"<annotation>")]


def _image_of_json(source: Path, path: Path, row: object, images: Path | None) -> SourceImage:
    name = image_name(field(row, "imagePath", str, str(path)), images, str(path))
    folder = path.parent.relative_to(source)
    image = (images / folder if images else path.parent) / name
    return SourceImage(image, (PurePosixPath(folder.as_posix()) / name).as_posix())


def _label(shape: object, path: Path) -> str:
    return field(shape, "label", str, f"{path}: a shape")


def _shapes(content: object, path: Path, image: Path) -> ImageLabels:
    if field(content, "imageHeight", int, str(path), 0) and field(content, "imageWidth", int, str(path), 0):
        height, width = size_field(content, "imageHeight", "imageWidth", str(path))
        check_area(height, width, str(path))
    else:
        height, width = check_image(image)
    labels = ImageLabels(height, width)
    groups: list[Hashable | None] = []
    for position, shape in enumerate(field(content, "shapes", list, str(path))):
        where = f"{path}: shapes[{position}]"
        _add(labels, shape, where, f"shape {position + 1} ({_label(shape, path)!r})")
        group = shape.get("group_id")
        groups += [group if isinstance(group, Hashable) else None] * (len(labels.regions) - len(groups))
    join_groups(labels, groups)
    return labels


def _add(labels: ImageLabels, shape: object, where: str, what: str) -> None:
    category = field(shape, "label", str, where)
    kind = field(shape, "shape_type", str, where, "polygon")
    points = points_of(field(shape, "points", list, where), f"{where}: points")
    if kind in _NO_AREA:
        labels.lost.append(f"{what}: a {kind}, which has no area")
        return
    needed = {"rectangle": 4, "circle": 4, "mask": 4}.get(kind)
    if needed and len(points) != needed:
        raise DatasetError(f"{where}: a {kind} has {needed // 2} points, found {len(points) // 2}.")
    if kind in ("polygon", "rotation", "oriented_rectangle"):
        is_crowd = field(shape, "flags", dict, where, {}).get(CROWD) is True
        add_polygons(labels, category, [points], what, is_crowd)
    elif kind == "rectangle":
        left, top, right, bottom = points
        add_polygons(labels, category, [[left, top, right, top, right, bottom, left, bottom]], what)
    elif kind == "circle":
        x, y, rim_x, rim_y = points
        radius = float(np.hypot(rim_x - x, rim_y - y))
        add_ellipse(labels, category, x, y, radius, radius, what)
    elif kind == "mask":
        mask = mask_of_png(bytes_of_base64(field(shape, "mask", str, where), where), where)
        add_placed(labels, category, mask, round(points[1]), round(points[0]), what)
    else:
        raise DatasetError(f"{where}: the shape_type {kind!r} is unknown. Draw it as a polygon.")


def _image_of_xml(source: Path, path: Path, root: Element, images: Path | None) -> SourceImage:
    name = check_file_name(text_of(root, "filename"), f"{path}: filename")
    folder = path.parent.relative_to(source / "Annotations").as_posix()
    file = (images or source / "Images") / folder / name
    return SourceImage(file, (PurePosixPath(folder) / name).as_posix())


def _objects(root: Element) -> list[Element]:
    return [each for each in root.iter("object") if text_of(each, "deleted", "0") != "1"]


def _xml_shapes(root: Element, path: Path, image: Path, source: Path) -> ImageLabels:
    height, width = check_image(image)
    labels = ImageLabels(height, width)
    for position, each in enumerate(_objects(root)):
        category = text_of(each, "name")
        where, what = f"{path}: object {position + 1} ({category!r})", f"object {position + 1} ({category!r})"
        outline, segment = each.find("polygon"), each.find("segm")
        if outline is not None:
            points = [
                number(point.findtext(axis), f"{where}: {axis} of a point")
                for point in outline.iter("pt")
                for axis in "xy"
            ]
            add_polygons(labels, category, [points], what)
        elif segment is not None:
            name = check_file_name(text_of(segment, "mask"), f"{where}: mask")
            mask_path = source / "Masks" / path.parent.relative_to(source / "Annotations") / name
            mask = read_map(mask_path)
            if mask.shape[:2] != (height, width):
                raise DatasetError(
                    f"{mask_path}: is {mask.shape[1]} x {mask.shape[0]}, but the image is {width} x {height}."
                )
            labels.add(region_from_mask(category, mask.reshape(height, width, -1).max(axis=2) > 0), what)
        else:
            raise DatasetError(f"{where}: has neither a polygon nor a mask.")
    return labels
