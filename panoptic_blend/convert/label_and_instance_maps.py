"""A map of categories and a map of objects an image, in two PNGs or in the channels of one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.convert.files import (
    check_size,
    colors_to_codes,
    match_splits,
    read_channels,
    read_map,
    read_named_map,
    require_folder,
)
from panoptic_blend.convert.instance_maps import InstanceMaps, Label, Values
from panoptic_blend.convert.names import read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.errors import DatasetError


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return all((source / folder).is_dir() for folder in ("images", "labels", "instances"))


def open_source(source: Path, options: FormatOptions) -> InstanceMaps:
    """Images in `images/`, label maps in `labels/` and maps of objects in `instances/`, or where the options say.

    Without `instances/`, the maps in `labels/` have the label in their first channel and the object's number in the
    others (gray and alpha, or R and 256 G + B).

    Raises:
        DatasetError: a folder is missing, an image lacks a map, or the names cannot be read or name no things.
    """
    if options.labels is None or not options.things:
        raise DatasetError(
            f"{source}: label maps need names, and which are things. Give --labels FILE with one 'value name' a line, "
            "and --things NAMES."
        )
    names = read_names(options.labels)
    is_color = names[0].value is None
    labels = [Label(each.key, each.name, each.name in options.things, each.is_void, each.color) for each in names]
    maps, objects = options.maps or source / "labels", options.instances or source / "instances"
    if options.instances is None and not objects.is_dir():
        decode = _decode_channels
    else:
        decode = partial(_decode_two, maps, require_folder(objects), frozenset(each.key for each in names), is_color)
    pairs = match_splits(options.images or source / "images", maps)
    return InstanceMaps.of(pairs, labels, decode, options, first_id=None)


def _decode_channels(path: Path) -> tuple[Values, Values]:
    values = read_channels(path)
    if values.ndim == 2:
        raise DatasetError(
            f"{path}: has one channel, so no numbers of objects. Give a folder with them by --instances, or convert "
            "--from label-maps, where every connected part is an object."
        )
    channels = np.moveaxis(values.astype(np.int64), -1, 0)
    return channels[0], channels[1] if len(channels) == 2 else channels[1] * 256 + channels[2]


def _decode_two(maps: Path, objects: Path, names: frozenset[int], is_color: bool, path: Path) -> tuple[Values, Values]:
    labels = read_named_map(names, is_color, path)
    other = objects / path.relative_to(maps)
    instances = colors_to_codes(read_map(other))
    check_size(instances, other, labels, path)
    return labels, instances
