"""PASCAL VOC: maps of classes and of objects, as palette, gray or colour PNGs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.convert.files import (
    check_size,
    color_code,
    colors_to_codes,
    colors_to_values,
    list_images,
    read_map,
    require_folder,
    visible,
)
from panoptic_blend.convert.instance_maps import InstanceMaps, Label, Values
from panoptic_blend.convert.names import read_lines, read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import SourceImage
from panoptic_blend.errors import DatasetError

NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
VOID = 255
"""Pixels at the edges of objects, and objects too hard to label."""


def palette_color(index: int) -> tuple[int, int, int]:
    """Colour of a palette index in VOC's PNGs: the bits of the index, dealt out to the highest bits of R, G and B."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    red, green, blue = channels
    return red, green, blue


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return (source / "SegmentationClass").is_dir()


def open_source(source: Path, options: FormatOptions) -> InstanceMaps:
    """`JPEGImages/`, `SegmentationClass/`, `SegmentationObject/`, `labelmap.txt` and `ImageSets/Segmentation/*.txt`.

    Images with a map of classes are taken, and where there are lists only those that a list names. Without
    `labelmap.txt` the classes are the twenty of VOC. "background" is stuff, which `--drop` makes void.

    Raises:
        DatasetError: a folder, an image or a map of objects is missing, or the names cannot be read.
    """
    classes, objects = require_folder(source / "SegmentationClass"), require_folder(source / "SegmentationObject")
    images = {
        str(Path(image.name).with_suffix("")): image for image in list_images(options.images or source / "JPEGImages")
    }
    pairs = []
    for stem, split in _stems(source, classes).items():
        if stem not in images:
            raise DatasetError(f"{classes / stem}.png: has no image in {source / 'JPEGImages'}. Add it.")
        pairs.append((SourceImage(images[stem].path, images[stem].name, split), classes / f"{stem}.png"))
    if not pairs:
        raise DatasetError(f"{classes}: no maps of images that the lists in {source / 'ImageSets'} name.")
    labels = _labels(source, options)
    colors = {color_code(each.color): each.value for each in labels if each.color is not None}
    return InstanceMaps.of(pairs, labels, partial(_decode, objects, colors), options)


def _stems(source: Path, classes: Path) -> dict[str, str]:
    """Names without extension of the images to take, with the split of each."""
    with_map = [path.relative_to(classes).with_suffix("").as_posix() for path in visible(classes, "**/*.png")]
    lists = visible(source / "ImageSets" / "Segmentation", "*.txt")
    # trainval is train and val; and of the test images nobody outside has the maps.
    lists = [path for path in lists if path.stem != "trainval"] or lists
    if not lists:
        return dict.fromkeys(with_map, "")
    stems: dict[str, str] = {}
    for path in lists:
        split = path.stem if path.stem in ("train", "val", "test") else ""
        for stem in read_lines(path):
            if stem not in with_map and split != "test":
                raise DatasetError(f"{path}: {stem!r} has no map in {classes}. Add it, or take the name out.")
            if stems.setdefault(stem, split) != split:
                raise DatasetError(f"{path}: {stem!r} is in another list too. Every image has one split.")
    return {stem: split for stem, split in stems.items() if stem in with_map}


def _labels(source: Path, options: FormatOptions) -> list[Label]:
    path = options.labels or source / "labelmap.txt"
    if not path.is_file() and options.labels is None:
        labels = [Label(index, name, index > 0, False, palette_color(index)) for index, name in enumerate(NAMES)]
    else:
        labels = [
            Label(
                index if each.value is None else each.value,
                each.name,
                each.name.casefold() != "background" and not each.is_void,
                each.is_void,
                each.color,
            )
            for index, each in enumerate(read_names(path))
        ]
    if all(label.value != VOID for label in labels):
        labels.append(Label(VOID, "void", is_void=True, color=palette_color(VOID)))
    return labels


def _decode(objects: Path, colors: Mapping[int, int], path: Path) -> tuple[Values, Values]:
    labels = read_map(path, palette_as_colors=True)
    other = objects / path.relative_to(objects.parent / "SegmentationClass")
    instances = read_map(other, palette_as_colors=True)
    check_size(instances, other, labels, path)
    numbers = colors_to_codes(instances).astype(np.int64)
    if instances.dtype == np.uint8:
        numbers[numbers == (VOID if instances.ndim == 2 else color_code(palette_color(VOID)))] = 0
    return colors_to_values(labels, colors, path), numbers
