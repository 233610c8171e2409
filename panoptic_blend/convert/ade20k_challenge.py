"""ADEChallengeData2016: label maps of ADE20K's 150 categories, and maps of objects if they are there."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_blend.convert.files import check_size, match_splits, read_channels, read_map
from panoptic_blend.convert.instance_maps import Values
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import (
    ImageLabels,
    SourceCategory,
    SourceImage,
    region_from_mask,
    regions_of_label_map,
)
from panoptic_blend.errors import DatasetError

STUFF = frozenset(
    (
        *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "grass", "sidewalk", "earth", "mountain"),
        *("plant", "water", "house", "sea", "rug", "field", "rock", "base", "sand", "skyscraper", "grandstand", "path"),
        *("runway", "stairway", "river", "bridge", "blind", "hill", "bar", "hovel", "tower", "dirt track", "land"),
        *("escalator", "buffet", "poster", "stage", "conveyer belt", "canopy", "swimming pool", "waterfall", "tent"),
        *("cradle", "tank", "lake", "blanket", "pier", "CRT screen", "crt screen", "shower"),
    )
)
"""What the challenge counts as stuff."""
_NAMES = "objectInfo150.txt"
_OBJECTS = "annotations_instance"


def is_challenge(source: Path) -> bool:
    """Whether a folder looks like this layout."""
    return (source / _NAMES).is_file() and (source / "annotations").is_dir()


def open_challenge(source: Path, options: FormatOptions) -> Ade20kChallenge:
    """`images/SPLIT/`, `annotations/SPLIT/`, `objectInfo150.txt` and, if it is there, `annotations_instance/SPLIT/`.

    With `annotations_instance/` (R is the category, counted among things alone, and G the object's number), pixels of
    things without an object are void; without it, connected parts of things are objects.

    Raises:
        DatasetError: a folder is missing, an image has no map, or the names cannot be read.
    """
    maps = options.maps or source / "annotations"
    objects: Path | None = options.instances or source / _OBJECTS
    if options.instances is None and not (source / _OBJECTS).is_dir():
        objects = None
    pairs = match_splits(options.images or source / "images", maps)
    names = _read_names(source / _NAMES)
    things = [name for name in names.values() if name not in STUFF]
    labels = {0: "", **names}
    if objects is not None:
        labels = {n: "" if name in things and name not in options.stuff else name for n, name in labels.items()}
    categories = [SourceCategory(name, name in things, value) for value, name in names.items()]
    images = [image for image, _ in pairs]
    return Ade20kChallenge(categories, images, [path for _, path in pairs], maps, objects, labels, things)


@dataclass(frozen=True)
class Ade20kChallenge:
    """A data set of this format; see `Source`.

    Attributes:
        maps: label maps of the images.
        root: folder they are in.
        objects: folder of the maps of objects, if there are any.
        labels: category by value in the label maps; "" is void.
        things: in the order that the maps of objects number them, from 1.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    maps: list[Path]
    root: Path
    objects: Path | None
    labels: dict[int, str]
    things: list[str]

    def read(self, index: int) -> ImageLabels:
        """The labels of one image, and the objects in front of them."""
        path = self.maps[index]
        values = read_map(path)
        if values.ndim > 2:
            raise DatasetError(f"{path}: is in colour, but labels of the challenge are gray. Give it as published.")
        height, width = values.shape
        labels = ImageLabels(height, width, regions_of_label_map(values, self.labels, path))
        if self.objects is not None:
            self._add_objects(labels, self.objects / path.relative_to(self.root), values, path)
        return labels

    def _add_objects(self, labels: ImageLabels, path: Path, values: Values, values_path: Path) -> None:
        channels = read_channels(path)
        if channels.ndim == 2 or channels.shape[2] < 3:
            raise DatasetError(f"{path}: is gray, but category and object are in its colours. Give it as published.")
        check_size(channels, path, values, values_path)
        category, number = channels[..., 0], channels[..., 1]
        for each in np.unique(number[number > 0]).tolist():
            mask = number == each
            (found, *others) = np.unique(category[mask]).tolist()
            if others or not 1 <= found <= len(self.things):
                raise DatasetError(
                    f"{path}: object {each} has the categories {[found, *others]}; expected one of "
                    f"1..{len(self.things)}. Give the map as published."
                )
            name = self.things[found - 1]
            labels.add(region_from_mask(name, mask), f"object {each} ({name!r})")


def _read_names(path: Path) -> dict[int, str]:
    """The first name of every category, by its value."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as a list of names ({error}).") from error
    names: dict[int, str] = {}
    for number, row in enumerate(csv.DictReader(text.splitlines(), delimiter="\t"), 1):
        value, name = (row.get("Idx") or "").strip(), (row.get("Name") or "").split(",")[0].strip()
        if not value.isdecimal() or not name or int(value) in names or name in names.values():
            raise DatasetError(
                f"{path}, row {number}: expected an Idx and a Name of its own. Give the file as published."
            )
        names[int(value)] = name
    if not names:
        raise DatasetError(f"{path}: names no category. Give the file as published.")
    return names
