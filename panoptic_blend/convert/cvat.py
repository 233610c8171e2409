"""CVAT for images 1.1: an XML of polygons and run-length masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from panoptic_blend.convert.fields import has_words
from panoptic_blend.convert.files import folder_with, hex_color, split_named
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.shapes import (
    add_ellipse,
    add_placed,
    add_polygons,
    check_area,
    join_groups,
    mask_from_runs,
)
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage
from panoptic_blend.convert.xml import number, read_xml, text_of, whole_number
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import check_file_name

_NO_AREA = ("polyline", "points", "skeleton", "cuboid")


def recognise(source: Path) -> bool:
    """Whether a path looks like this format."""
    path = _xml_file(source)
    return path is not None and has_words(path, b"<annotations>")


def open_source(source: Path, options: FormatOptions) -> Cvat:
    """The XML, or the folder of `annotations.xml`; images are in `images/`, there in a folder a subset, or beside it.

    Shapes of one group and one label are one object. Subsets are splits.

    Raises:
        DatasetError: the XML cannot be read, is of videos, or its images are not found.
    """
    path = _xml_file(source)
    if path is None:
        raise DatasetError(f"{source}: has no annotations.xml. Give the XML that CVAT exported, or its folder.")
    root = read_xml(path)
    if root.find("track") is not None:
        raise DatasetError(f"{path}: is a video's. Export the task as 'CVAT for images 1.1'.")
    categories = [
        SourceCategory(text_of(each, "name"), True, color=hex_color(text_of(each, "color")))
        for each in root.iterfind("meta//labels/label")
        if each.find("parent") is None  # of a skeleton
    ]
    rows = root.findall("image")
    if not categories or not rows:
        raise DatasetError(f"{path}: has no {'labels' if not categories else 'images'}. Export it again.")
    images = [_image(row, path, options.images) for row in rows]
    return Cvat(categories, images, rows, path, frozenset(options.drop))


@dataclass(frozen=True)
class Cvat:
    """A data set of this format; see `Source`.

    Attributes:
        rows: the element of each image.
        path: of the file.
        dropped: labels that are passed over.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    rows: list[Element]
    path: Path
    dropped: frozenset[str]

    def read(self, index: int) -> ImageLabels:
        """The shapes of one image; a box is refused, unless its label is dropped."""
        row = self.rows[index]
        where = f"{self.path}: image {row.get('name')}"
        height, width = (whole_number(row.get(side), f"{where}: {side}") for side in ("height", "width"))
        if min(height, width) < 1:
            raise DatasetError(f"{where}: has no size.")
        check_area(height, width, where)
        labels = ImageLabels(height, width)
        groups: list[str | None] = []
        names = {each.name for each in self.categories}
        shapes = [each for each in row if each.tag != "tag" and each.get("label") not in self.dropped]
        shapes.sort(key=lambda each: whole_number(each.get("z_order", "0"), f"{where}: z_order"))
        for shape in shapes:
            label = shape.get("label", "")
            if label not in names:
                raise DatasetError(f"{where}: a {shape.tag} has the label {label!r}, which the file does not list.")
            _add(labels, shape, label, f"{where}: a {shape.tag} of {label!r}")
            group = shape.get("group_id", "0")
            groups += [None if group == "0" else group] * (len(labels.regions) - len(groups))
        join_groups(labels, groups)
        return labels


def _add(labels: ImageLabels, shape: Element, label: str, where: str) -> None:
    what = f"a {shape.tag} of {label!r}"
    if shape.tag == "polygon":
        points = [point.split(",") for point in shape.get("points", "").split(";") if point]
        if not all(len(point) == 2 for point in points):
            raise DatasetError(f"{where}: points must be written x,y;x,y..., found {shape.get('points')!r:.80}.")
        add_polygons(labels, label, [[number(each, where) for point in points for each in point]], what)
    elif shape.tag == "ellipse":
        x, y, radius_x, radius_y = (number(shape.get(key), f"{where}: {key}") for key in ("cx", "cy", "rx", "ry"))
        turn = number(shape.get("rotation", "0"), f"{where}: rotation")
        add_ellipse(labels, label, x, y, radius_x, radius_y, what, turn)
    elif shape.tag == "mask":
        left, top, width, height = (
            whole_number(shape.get(key), f"{where}: {key}") for key in ("left", "top", "width", "height")
        )
        runs = [whole_number(run, f"{where}: rle") for run in shape.get("rle", "").split(",")]
        mask = mask_from_runs(runs, height, width, where, by_columns=False)
        add_placed(labels, label, mask, top, left, what)
    elif shape.tag == "box":
        raise DatasetError(
            f"{where}: a box does not say which pixels are the object. Draw its outline, or leave all of {label!r} out "
            f"with --drop {label!r}."
        )
    elif shape.tag in _NO_AREA:
        labels.lost.append(f"{what}: has no area")
    else:
        raise DatasetError(f"{where}: this kind of shape is unknown. Draw it as a polygon.")


def _xml_file(source: Path) -> Path | None:
    path = source / "annotations.xml" if source.is_dir() else source
    return path if path.suffix.lower() == ".xml" and path.is_file() else None


def _image(row: Element, path: Path, images: Path | None) -> SourceImage:
    name = check_file_name(row.get("name"), f"{path}: an image").replace("\\", "/")
    subset = row.get("subset", "")
    split = split_named(subset, f"{path}: image {name}")
    folders = (
        [images / subset, images] if images else [path.parent / "images" / subset, path.parent / "images", path.parent]
    )
    return SourceImage(folder_with(name, folders, path) / name, name, split)
