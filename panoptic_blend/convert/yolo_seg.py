"""Ultralytics' YOLO segmentation: data.yaml, and a text file of normalised polygons for every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from panoptic_blend.convert.fields import field, typed
from panoptic_blend.convert.files import folder_with, list_images
from panoptic_blend.convert.names import read_lines
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.shapes import add_polygons
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage
from panoptic_blend.convert.xml import number, whole_number
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import check_image
from panoptic_blend.files.names import check_file_name

SPLITS = ("train", "val", "test")


def recognise(source: Path) -> bool:
    """Whether a path looks like this format."""
    path = _yaml_file(source)
    return path is not None and any((path.parent / each).is_dir() for each in ("images", "labels", *SPLITS))


def open_source(source: Path, options: FormatOptions) -> YoloSeg:
    """`data.yaml`, or its folder. It names the folders of images (`images/train`, or lists of files); where `images` is
    part of their path, the labels are in `labels` instead.

    Raises:
        DatasetError: the file cannot be read, or names folders that are not there or not beside it.
    """
    path = _yaml_file(source)
    if path is None:
        raise DatasetError(f"{source}: has no data.yaml. Give that file, or its folder.")
    content = _read_yaml(path)
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    names = {
        typed(value, int, f"{path}: 'names': a class"): _name(name, path)
        for value, name in typed(names, dict, f"{path}: 'names'").items()
    }
    images: list[SourceImage] = []
    files: list[Path] = []
    root = path.parent.resolve()
    for split in SPLITS:
        places = _places(content.get(split), f"{path}: {split!r}")
        for place in places:
            found = _images(_locate(path, content, place), root, alone=len(places) == 1)
            images += [replace(image, split=split) for image in found]
            files += [labels_file(image.path.relative_to(root), root) for image in found]
    if not files:
        raise DatasetError(f"{path}: names no images: neither 'train' nor 'val' nor 'test'.")
    if not any(file.is_file() for file in files):
        raise DatasetError(
            f"{files[0]}: no such file, and no other image has one. Labels belong into labels/, beside images/."
        )
    return YoloSeg([SourceCategory(name, True) for name in names.values()], images, files, names)


@dataclass(frozen=True)
class YoloSeg:
    """A data set of this format; see `Source`.

    Attributes:
        files: text file of each image; it is missing where nothing is labelled.
        names: of the classes.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    files: list[Path]
    names: dict[int, str]

    def read(self, index: int) -> ImageLabels:
        """The polygons of one image."""
        path = self.files[index]
        labels = ImageLabels(*check_image(self.images[index].path))
        if not path.is_file():
            labels.lost.append(f"no file {path.name} with its labels: the image is void")
            return labels
        for line, text in enumerate(_read_text(path).splitlines(), 1):
            if text.strip():
                self._add(labels, text.split(), f"{path}, line {line}", f"line {line}")
        return labels

    def _add(self, labels: ImageLabels, words: Sequence[str], where: str, what: str) -> None:
        value = whole_number(words[0], f"{where}: the class")
        if value not in self.names:
            raise DatasetError(f"{where}: the class {value} is not among the names in data.yaml. Add it there.")
        numbers = [number(word, where) for word in words[1:]]
        what = f"{what} ({self.names[value]!r})"
        if len(numbers) == 4:
            labels.lost.append(f"{what}: a box, which is no mask")
        elif len(numbers) % 2:
            raise DatasetError(f"{where}: has {len(numbers)} coordinates, but x and y come in pairs.")
        else:
            sides = (labels.width, labels.height) * (len(numbers) // 2)
            polygon = [each * side for each, side in zip(numbers, sides, strict=True)]
            add_polygons(labels, self.names[value], [polygon], what)


def _yaml_file(source: Path) -> Path | None:
    if source.suffix.lower() in (".yaml", ".yml"):
        return source
    return next((path for name in ("data.yaml", "data.yml") if (path := source / name).is_file()), None)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text ({error}).") from error


def _read_yaml(path: Path) -> dict[str, object]:
    try:
        return typed(yaml.safe_load(_read_text(path)), dict, str(path))
    except (yaml.YAMLError, RecursionError) as error:
        what = " ".join(str(error).split())  # several lines, with the place drawn beneath
        raise DatasetError(f"{path}: not valid YAML ({what}).") from error


def _name(name: object, path: Path) -> str:
    return str(name) if isinstance(name, (int, float)) else typed(name, str, f"{path}: a name")


def _places(value: object, where: str) -> list[str]:
    if value is None or value == "":
        return []
    places = [typed(each, str, where) for each in (value if isinstance(value, list) else [value])]
    if any("\0" in each for each in places):
        raise DatasetError(f"{where} has a character that no path has.")
    return places


def _locate(path: Path, content: dict[str, object], place: str) -> Path:
    """The folder or list that is meant; data.yaml often keeps paths of the machine it was written on."""
    root = path.parent.resolve()
    below = place.replace("\\", "/")
    while below.startswith("../"):
        below = below.removeprefix("../")
    bases = (root / field(content, "path", str, str(path), ""), root)
    found = [each for base in bases for name in (place, below) if (each := (base / name).resolve()).exists()]
    for each in found:
        if each.is_relative_to(root):
            return each
    wrong = f"{found[0]} is not below it" if found else f"{place} is not there"
    raise DatasetError(
        f"{path}: images are looked for below its folder, but {wrong}. Correct the path, or move the file."
    )


def _images(place: Path, root: Path, alone: bool) -> list[SourceImage]:
    """The images in a folder, or those that a text file lists."""
    if place.is_dir():
        found = list_images(place)
        return found if alone else [replace(each, name=each.path.relative_to(root).as_posix()) for each in found]
    lines = (line.replace("\\", "/").removeprefix("./") for line in read_lines(place))
    below = (line.removeprefix(f"{root.as_posix()}/") for line in lines)
    names = [check_file_name(line, str(place)) for line in below]
    folders = [place.parent, root]
    return [SourceImage(folder_with(name, folders, place, "Correct the list.") / name, name) for name in names]


def labels_file(image: Path, root: Path) -> Path:
    """The text file of an image: in `labels` instead of the last `images` of its path, or beside it."""
    parts = list(image.with_suffix(".txt").parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return root.joinpath(*parts)
