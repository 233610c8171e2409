"""MOTS: 16-bit maps of class x 1000 + number of the object."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panoptic_blend.convert.files import match_maps, read_deep_map, split_of_folder
from panoptic_blend.convert.instance_maps import InstanceMaps, Label, Values, labels_of
from panoptic_blend.convert.names import read_lines
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.errors import DatasetError

LABELS = (
    Label(0, "background"),
    Label(1, "car", is_thing=True),
    Label(2, "pedestrian", is_thing=True),
    Label(10, "ignored", is_void=True),
)


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return any(_images(root).is_dir() and not (root / "labels").is_dir() for root in _roots(source))


def open_source(source: Path, options: FormatOptions) -> InstanceMaps:
    """`images/` (or KITTI's `training/image_02/`) and `instances/`, in the folder or in a folder a split.

    `instances/labels.txt` names the classes from 1, a line each; else 1 is car, 2 pedestrian. Value 0 is the stuff
    "background", which `--drop` makes void; class 10, of regions to ignore, is void where there are not so many.

    Raises:
        DatasetError: a folder is missing, an image has no map or a map no image, or two splits name other classes.
    """
    roots = _roots(source)
    if not roots:
        raise DatasetError(f"{source}: has no folder instances/, and none of its folders has.")
    named = {(root / "instances" / "labels.txt").is_file() and _names(root) for root in roots}
    if len(named) > 1:
        raise DatasetError(f"{source}: its splits name other classes in instances/labels.txt. Convert them apart.")
    names = named.pop()
    labels = LABELS if not names else (LABELS[0], *(Label(n, name, is_thing=True) for n, name in enumerate(names, 1)))
    if len(labels) <= 10:
        labels = (*(each for each in labels if each.value < 10), LABELS[-1])
    pairs = [
        pair
        for root in roots
        for pair in match_maps(
            options.images or _images(root),
            options.maps or root / "instances",
            split_of_folder(root.name) if root != source else "",
        )
    ]
    return InstanceMaps.of(pairs, labels_of(options, labels), _decode, options)


def _roots(source: Path) -> list[Path]:
    if (source / "instances").is_dir():
        return [source]
    return [path for path in sorted(source.glob("*/")) if (path / "instances").is_dir()]


def _images(root: Path) -> Path:
    """Of MOTS, or of KITTI MOTS."""
    return root / "images" if (root / "images").is_dir() else root / "training" / "image_02"


def _names(root: Path) -> tuple[str, ...]:
    return tuple(read_lines(root / "instances" / "labels.txt"))


def _decode(path: Path) -> tuple[Values, Values]:
    values = read_deep_map(path, "class x 1000 + number").astype(np.int64)
    return values // 1000, np.where(values >= 1000, values % 1000 + 1, 0)
