"""KITTI-STEP: colour maps whose red is the category, and whose green and blue number the objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from panoptic_blend.convert.cityscapes import LABELS as CITYSCAPES
from panoptic_blend.convert.files import match_maps, read_channels, split_of_folder
from panoptic_blend.convert.instance_maps import InstanceMaps, Label, Values, labels_of
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.errors import DatasetError

LABELS = (
    *(
        Label(number, each.name, each.name in ("person", "car"), color=each.color)
        for number, each in enumerate(each for each in CITYSCAPES if not each.is_void)
    ),
    Label(255, "void", is_void=True),
)
"""The categories that Cityscapes is evaluated on, numbered from 0, of which persons and cars are told apart."""


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return (source / "panoptic_maps").is_dir()


def open_source(source: Path, options: FormatOptions) -> InstanceMaps:
    """`panoptic_maps/SPLIT/SEQUENCE/*.png`, and images in `images/SPLIT/SEQUENCE/` or `training/image_02/SEQUENCE/`.

    Persons and cars without a number are a crowd.

    Raises:
        DatasetError: a folder is missing, or in a sequence an image has no map or a map no image.
    """
    images = options.images or source / "images"
    if options.images is None and not images.is_dir():
        images = source / "training" / "image_02"  # where KITTI keeps the sequences of both splits
    pairs = []
    for sequence in sorted((options.maps or source / "panoptic_maps").glob("*/*/")):
        split = sequence.parent.name
        root = images / split if (images / split).is_dir() else images
        pairs += [
            (replace(image, name=f"{sequence.name}/{image.name}"), path)
            for image, path in match_maps(root / sequence.name, sequence, split_of_folder(split))
        ]
    if not pairs:
        raise DatasetError(f"{source}: no panoptic_maps/SPLIT/SEQUENCE/ in it. Give the folder that has them.")
    return InstanceMaps.of(pairs, labels_of(options, LABELS), _decode, options)


def _decode(path: Path) -> tuple[Values, Values]:
    values = read_channels(path)
    if values.ndim == 2 or values.shape[2] < 3:
        raise DatasetError(f"{path}: is gray, but a panoptic map of KITTI-STEP is RGB. Give the maps as published.")
    labels, high, low = np.moveaxis(values.astype(np.int64), -1, 0)[:3]
    return labels, high * 256 + low
