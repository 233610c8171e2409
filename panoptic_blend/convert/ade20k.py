"""ADE20K: the full releases of 2017 and 2020, or the 150 categories of its challenge, as maps or panoptic JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_blend.coco.json_rows import read_json
from panoptic_blend.convert.ade20k_challenge import STUFF, is_challenge, open_challenge
from panoptic_blend.convert.files import check_size, is_split_folder, read_channels, read_map, split_of_folder, visible
from panoptic_blend.convert.instance_maps import Values
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.panoptic_json import PanopticFile, open_panoptic_json
from panoptic_blend.convert.source import ImageLabels, Mask, Source, SourceCategory, SourceImage, region_from_mask
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import check_image
from panoptic_blend.files.names import check_file_name


def recognise(source: Path) -> bool:
    """Whether a path looks like this format."""
    return bool(_panoptic_jsons(source)) or is_challenge(source) or _root(source) is not None


def open_source(source: Path, options: FormatOptions) -> Source:
    """`training/` and `validation/` of a full release, there or in `images/` or `images/ADE/`; or the challenge.

    Beside every image lie `NAME_seg.png` and `NAME_atr.txt` (2017), or `NAME.json` and `NAME/instance_*.png` (2020). A
    category is named by the first of its WordNet names, or by all where several begin alike; it is stuff if the
    challenge says so. Parts of objects are left out, but for categories that `--things` or `--stuff` names.

    The challenge's panoptic JSONs are `ade20k_panoptic_train.json` and `ade20k_panoptic_val.json`, with `images/`
    beside them. Where they are not there, `open_challenge` reads its maps.

    Raises:
        DatasetError: no images, an image without annotations, or annotations that cannot be read.
    """
    jsons = _panoptic_jsons(source)
    if jsons:
        folders = {"train": "training", "val": "validation"}
        files = [(path, path.stem.removeprefix("ade20k_panoptic_")) for path in jsons]
        return open_panoptic_json(
            [
                PanopticFile(path, options.images or path.parent / "images" / folders.get(split, split), split)
                for path, split in files
            ]
        )
    if is_challenge(source):
        return open_challenge(source, options)
    root = _root(source)
    if root is None:
        raise DatasetError(f"{source}: has no training/ or validation/ with *_seg.png, nor has images/ or images/ADE/.")
    images = [
        SourceImage(path, path.relative_to(folder).as_posix(), split_of_folder(folder.name))
        for folder in filter(is_split_folder, sorted(root.iterdir()))
        for path in visible(folder, "**/*.jpg")
    ]
    if not images:
        raise DatasetError(f"{root}: no images (*.jpg) in its splits.")
    wanted = {*options.things, *options.stuff}
    levels: dict[str, int] = {}
    for image in images:
        for each in _read_objects(image.path):
            levels[each.name] = min(each.level, levels.get(each.name, each.level))
    shorter = _short_names(levels)
    names = {full: short for full, short in shorter.items() if levels[full] == 0 or short in wanted}
    categories = [SourceCategory(name, name not in STUFF) for name in sorted(names.values())]
    return Ade20k(categories, images, names, frozenset(wanted))


def _panoptic_jsons(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if re.fullmatch(r"ade20k_panoptic_\w+\.json", source.name) else []
    return [path for name in ("train", "val") if (path := source / f"ade20k_panoptic_{name}.json").is_file()]


def _root(source: Path) -> Path | None:
    """The folder of the splits."""
    for root in (source, source / "images", source / "images" / "ADE"):
        for split in filter(is_split_folder, root.iterdir() if root.is_dir() else []):
            if any(_is_annotated(path) for path in visible(split, "**/*_seg.png")):
                return root
    return None


def _is_annotated(seg: Path) -> bool:
    stem = seg.name.removesuffix("_seg.png")
    return seg.with_name(f"{stem}_atr.txt").is_file() or seg.with_name(f"{stem}.json").is_file()


def _short_names(names: dict[str, int]) -> dict[str, str]:
    """For every list of names ("door, double door") its first, or all with semicolons where that means several."""
    firsts = [name.split(",")[0].strip() for name in names]
    return {
        name: first if firsts.count(first) == 1 else name.replace(", ", ";")
        for name, first in zip(names, firsts, strict=True)
    }


@dataclass(frozen=True)
class _Object:
    """An object or part.

    Attributes:
        number: among those of its level.
        level: 0 is an object, 1 part of one, 2 part of a part.
        name: all WordNet names.
        class_index: in maps of classes.
        mask: file name of its mask (2020), relative to the image's folder.
    """

    number: int
    level: int
    name: str
    class_index: int = 0
    mask: str = ""


@dataclass(frozen=True)
class Ade20k:
    """A data set of this format; see `Source`.

    Attributes:
        names: category by all WordNet names.
        wanted: categories of which parts are taken too.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    names: dict[str, str]
    wanted: frozenset[str]

    def read(self, index: int) -> ImageLabels:
        """The objects of one image, and the parts that are wanted."""
        path = self.images[index].path
        height, width = check_image(path)
        labels = ImageLabels(height, width)
        objects = _read_objects(path)
        for level in sorted({each.level for each in objects}):
            here = [each for each in objects if each.level == level]
            taken = [each for each in here if self._is_taken(each)]
            if taken:
                for each, mask in _masks(path, level, here, taken):
                    if mask.shape != (height, width):
                        raise DatasetError(
                            f"{path}: is {width} x {height}, but its maps of level {level} are {mask.shape[1]} x "
                            f"{mask.shape[0]}. Save all at the same size."
                        )
                    name = self.names[each.name]
                    labels.add(region_from_mask(name, mask), f"object {each.number} ({name!r})")
        return labels

    def _is_taken(self, each: _Object) -> bool:
        return each.name in self.names and (each.level == 0 or self.names[each.name] in self.wanted)


def _masks(path: Path, level: int, here: list[_Object], taken: list[_Object]) -> Iterator[tuple[_Object, Mask]]:
    """The pixels of some objects of one level.

    Args:
        path: of the image.
        here: all objects of the level.
        taken: of which masks are wanted.
    """
    map_path = path.with_name(f"{path.stem}_{f'parts_{level}' if level else 'seg'}.png")
    if not taken[0].mask:
        numbers = _numbers(_read_colors(map_path)[..., 2], {each.number for each in here}, map_path)
        yield from ((each, numbers == each.number) for each in taken)
        return
    # Masks of 2020 may have hidden pixels too; the map of classes says what is in front.
    classes = _read_classes(map_path) if map_path.is_file() else None
    for each in taken:
        mask_path = path.parent / each.mask
        mask = read_map(mask_path)
        if mask.ndim > 2:
            raise DatasetError(f"{mask_path}: is in colour, but a mask is gray. Give it as published.")
        if classes is None:
            yield each, mask > 0
            continue
        check_size(mask, mask_path, classes, map_path)
        yield each, (mask > 0) & (classes == each.class_index)


def _numbers(blue: Values, listed: set[int], path: Path) -> Values:
    """Numbers of objects out of the blue channel: its values as they are, or counted through where they lie apart."""
    found = [value for value in np.unique(blue).tolist() if value]
    if set(found) <= listed:
        return blue
    if len(found) > len(listed):
        raise DatasetError(
            f"{path}: has {len(found)} objects, but the list of annotations {len(listed)}. Give both as published."
        )
    return np.where(blue > 0, np.searchsorted(found, blue) + 1, 0)


def _read_classes(path: Path) -> Values:
    values = _read_colors(path).astype(np.int64)
    return values[..., 0] // 10 * 256 + values[..., 1]


def _read_colors(path: Path) -> Values:
    values = read_channels(path)
    if values.ndim == 2 or values.shape[2] < 3:
        raise DatasetError(f"{path}: is gray, but class and object are in its colours. Give it as published.")
    return values


def _read_objects(image: Path) -> list[_Object]:
    """All objects and parts of an image."""
    table = image.with_name(f"{image.stem}_atr.txt")
    if table.is_file():
        lines = table.read_text(encoding="latin-1").splitlines()
        return [_from_line(line, f"{table}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    path = image.with_suffix(".json")
    if not path.is_file():
        raise DatasetError(
            f"{image}: has neither {table.name} nor {path.name} beside it. Add it, or take the image out."
        )
    annotation = read_json(path, "the annotation of an image of ADE20K", encoding="latin-1").get("annotation")
    rows = annotation.get("object") if isinstance(annotation, dict) else None
    if isinstance(rows, dict):  # a single object
        rows = [rows]
    if not isinstance(rows, list):
        raise DatasetError(f"{path}: has no list 'annotation.object'. Give the file as published.")
    return [_from_row(row, f"{path}: object {n}") for n, row in enumerate(rows)]


def _from_line(line: str, where: str) -> _Object:
    columns = [column.strip() for column in line.split("#")]
    if len(columns) != 6 or not (columns[0].isdecimal() and columns[1].isdecimal() and columns[3]):
        raise DatasetError(
            f"{where}: expected 'number # level # occluded # names # name # \"attributes\"', found {line!r:.80}."
        )
    return _Object(int(columns[0]), int(columns[1]), columns[3])


def _from_row(row: object, where: str) -> _Object:
    parts = row.get("parts") if isinstance(row, dict) else None
    level = parts.get("part_level") if isinstance(parts, dict) else None
    if not isinstance(row, dict) or not (
        type(row.get("id")) is int
        and type(row.get("name_ndx")) is int
        and type(level) is int
        and isinstance(row.get("name"), str)
        and row["name"].strip()
    ):
        raise DatasetError(f"{where}: expected an object with id, name, name_ndx and parts.part_level.")
    mask = check_file_name(row.get("instance_mask"), where)
    return _Object(row["id"], level, row["name"].strip(), row["name_ndx"], mask)
