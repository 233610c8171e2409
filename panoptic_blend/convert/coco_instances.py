"""COCO's instances JSON: polygons and run lengths of objects, and the stuff beside them."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from panoptic_blend.categories import Categories
from panoptic_blend.coco.json_rows import ImageRows, parse_images
from panoptic_blend.coco.left_out import LeftOut
from panoptic_blend.convert.fields import begins_with, field, typed
from panoptic_blend.convert.files import folder_with, read_map
from panoptic_blend.convert.names import read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.shapes import add_polygons, mask_from_runs, runs_of_string
from panoptic_blend.convert.source import (
    ImageLabels,
    Mask,
    SourceCategory,
    SourceImage,
    region_from_mask,
    regions_of_label_map,
)
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.long_json import LongJson


@dataclass(frozen=True)
class CocoFile:
    """One instances JSON.

    Attributes:
        path: of the file.
        images: folders its images may be in.
        split: of its images; "" where it does not tell.
    """

    path: Path
    images: Sequence[Path]
    split: str = ""


def recognise(source: Path) -> bool:
    """Whether a file looks like this format."""
    if source.suffix.lower() != ".json" or not begins_with(source, b"{"):
        return False
    # COCO's own files begin with megabytes of images, without a word of their annotations.
    with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        first = re.search(rb'"(segmentation|segments_info|shapes)"\s*:', content)
        return first is not None and first[1] == b"segmentation" and content.find(b'"annotations"') >= 0


def open_source(source: Path, options: FormatOptions) -> CocoInstances:
    """One JSON. Its images are in `--images`, beside it, or where COCO has them: `../SPLIT/`, `../images/SPLIT/`.

    Raises:
        DatasetError: the JSON does not hold together, or its images are not found.
    """
    above, split = source.parent.parent, source.stem.rpartition("_")[2]
    usual = [source.parent, source.parent / "images", above / split, above / "images" / split, above / "images"]
    return open_files([CocoFile(source, [options.images] if options.images else usual)], options)


def open_files(files: Sequence[CocoFile], options: FormatOptions) -> CocoInstances:
    """Several JSONs as one data set; categories of equal names are one.

    `--stuff-labels` adds another JSON of regions (COCO's `stuff_*.json`), or a folder of label maps whose values
    `--labels` names. Categories of objects are read from the objects alone, unless they are in `--stuff`.

    Raises:
        DatasetError: a JSON does not hold together, or images or names are not found.
    """
    images: list[SourceImage] = []
    sizes: list[tuple[int, int]] = []
    rows: list[list[str]] = []
    categories: dict[str, SourceCategory] = {}
    for file in files:
        content = _Content.read(file.path)
        file_names = [name.replace("\\", "/") for name in content.images.file_names]  # written on Windows
        folder = folder_with(file_names[0], file.images, file.path)
        images += [SourceImage(folder / name, name, file.split) for name in file_names]
        sizes += list(zip(content.images.heights, content.images.widths, strict=True))
        rows += content.rows
        for each in content.categories:
            categories.setdefault(each.name, each)
    maps, names = None, {}
    if options.stuff_labels is not None:
        objects = set(categories) - set(options.stuff)
        if options.stuff_labels.is_dir():
            maps, names = options.stuff_labels, _stuff_names(options)
            found = [SourceCategory(name, False, value) for value, name in names.items() if name]
            names = {value: "" if name in objects else name for value, name in names.items()}
        else:
            found = _add_stuff(options.stuff_labels, objects, images, rows)
        for each in found:
            categories.setdefault(each.name, each)
    texts = [f"[{','.join(each)}]" for each in rows]
    return CocoInstances(list(categories.values()), images, sizes, texts, maps, names)


@dataclass(frozen=True)
class CocoInstances:
    """A data set of this format; see `Source`.

    Attributes:
        sizes: height and width of each image.
        rows: the annotations of each image, as JSON.
        maps: folder of label maps with the stuff, if any.
        names: of the values in the maps; "" is void.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    sizes: list[tuple[int, int]]
    rows: list[str]
    maps: Path | None
    names: dict[int, str]

    def read(self, index: int) -> ImageLabels:
        """The annotations of one image."""
        labels = ImageLabels(*self.sizes[index])
        for row in json.loads(self.rows[index]):
            _add(labels, **row)
        if self.maps is not None:
            path = (self.maps / self.images[index].name).with_suffix(".png")
            values = read_map(path)
            if values.shape != (labels.height, labels.width):
                raise DatasetError(
                    f"{path}: must be a gray or palette PNG of {labels.width} x {labels.height}, as the image is."
                )
            labels.regions += regions_of_label_map(values, self.names, path)
        return labels


def _add(
    labels: ImageLabels,
    where: str,
    what: str,
    category: str,
    segmentation: object,
    is_crowd: bool,
    is_object: bool,
) -> None:
    """Add an annotation to those of its image."""
    if not segmentation:
        labels.lost.append(f"{what}: has no mask, at most a box")
    elif isinstance(segmentation, dict):
        labels.add(region_from_mask(category, _mask(segmentation, labels, where), is_object, is_crowd), what)
    else:
        polygons = []
        for number, polygon in enumerate(typed(segmentation, list, f"{where}: 'segmentation'")):
            place = f"{where}: segmentation[{number}]"
            polygons.append([typed(each, float, place) for each in typed(polygon, list, place)])
            if len(polygons[-1]) % 2:
                raise DatasetError(f"{place} has {len(polygons[-1])} numbers, but x and y come in pairs.")
        add_polygons(labels, category, polygons, what, is_crowd, is_object)


def _mask(rle: dict[str, object], labels: ImageLabels, where: str) -> Mask:
    if rle.get("size") != [labels.height, labels.width]:
        raise DatasetError(
            f"{where}: the mask's size {rle.get('size')!r:.80} is not that of the image, {labels.height} x "
            f"{labels.width} (height first)."
        )
    counts = rle.get("counts")
    if isinstance(counts, str):
        counts = runs_of_string(counts, where)
    return mask_from_runs(typed(counts, list, f"{where}: 'counts'"), labels.height, labels.width, where)


@dataclass(frozen=True)
class _Content:
    """A JSON, checked as far as its rows belong together.

    Attributes:
        rows: for each image, the arguments of `_add` for its annotations as JSON: a tenth of the memory of objects.
    """

    images: ImageRows
    categories: list[SourceCategory]
    rows: list[list[str]]

    @classmethod
    def read(cls, path: Path, is_object: bool = True, left_out: Collection[str] = ()) -> _Content:
        """All annotations but those of the categories that are left out."""
        data = LongJson(path, ("images", "annotations"), "a COCO instances JSON")
        images = parse_images(data.rows("images"), str(path), LeftOut())
        if not images.ids:
            raise DatasetError(f"{path}: lists no images.")
        categories = Categories.from_json(data.content.get("categories"), str(path))
        found = [SourceCategory(each.name, each.is_thing, each.id) for each in categories]
        rows: list[list[str]] = [[] for _ in images.ids]
        for number, annotation in enumerate(data.rows("annotations")):
            where = f"{path}: annotations[{number}]"
            row = typed(annotation, dict, where)
            image_id = row.get("image_id")
            image = images.positions.get(image_id) if isinstance(image_id, (int, str)) else None
            if image is None:
                raise DatasetError(f"{where}: image {image_id!r:.80} is not in 'images'. List it, or drop the row.")
            category = field(row, "category_id", int, where)
            if not categories.has_id(category):
                raise DatasetError(
                    f"{where}: category_id {category} is not in 'categories'. Add the category, or correct the id."
                )
            name = categories.by_id(category).name
            if name not in left_out:
                arguments = {
                    "where": where,
                    "what": f"annotation {row.get('id', number)!r:.20} ({name!r})",
                    "category": name,
                    "segmentation": row.get("segmentation"),
                    "is_crowd": row.get("iscrowd") == 1,
                    "is_object": is_object,
                }
                rows[image].append(json.dumps(arguments))
        return cls(images, found, rows)


def _add_stuff(
    path: Path, objects: Collection[str], images: Sequence[SourceImage], rows: Sequence[list[str]]
) -> list[SourceCategory]:
    """Add another JSON's annotations as stuff, but for categories of objects; its categories."""
    content = _Content.read(path, is_object=False, left_out=objects)
    by_name = dict(zip(content.images.file_names, content.rows, strict=True))
    for image, own in zip(images, rows, strict=True):
        own += by_name.get(image.name, [])
    return [replace(each, is_thing=False) for each in content.categories]


def _stuff_names(options: FormatOptions) -> dict[int, str]:
    if options.labels is None:
        raise DatasetError(
            f"{options.stuff_labels}: label maps need names. Give --labels FILE with one 'value name' a line."
        )
    return {
        each.value: "" if each.is_void else each.name for each in read_names(options.labels) if each.value is not None
    }
