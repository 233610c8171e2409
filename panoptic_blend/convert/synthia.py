"""SYNTHIA in its several layouts: colour maps, text maps, or 16-bit maps of class and instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.convert.files import match_maps, read_channels, read_named_map
from panoptic_blend.convert.instance_maps import InstanceMaps, Label, Values
from panoptic_blend.convert.label_maps import LabelMaps
from panoptic_blend.convert.names import LabelName, read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import Source, SourceCategory
from panoptic_blend.errors import DatasetError

Colors = Sequence[tuple[str, int, int, int]]

RAND: Colors = (
    ("Void", 0, 0, 0),
    ("Sky", 128, 128, 128),
    ("Building", 128, 0, 0),
    ("Road", 128, 64, 128),
    ("Sidewalk", 0, 0, 192),
    ("Fence", 64, 64, 128),
    ("Vegetation", 128, 128, 0),
    ("Pole", 192, 192, 128),
    ("Car", 64, 0, 128),
    ("Sign", 192, 128, 128),
    ("Pedestrian", 64, 64, 0),
    ("Cyclist", 0, 128, 192),
    ("Lanemarking", 0, 175, 0),
    ("TrafficLight", 0, 128, 128),
)
"""SYNTHIA-RAND, by value."""
AL: Colors = (
    *RAND[:9],
    ("TrafficSign", 192, 128, 128),
    ("Pedestrian", 64, 64, 0),
    ("Bicycle", 0, 128, 192),
    ("Lanemarking", 0, 172, 0),
    ("TrafficLight", 0, 128, 128),
)
"""SYNTHIA-AL."""
SF: Colors = (
    ("Void", 0, 0, 0),
    ("Road", 128, 64, 128),
    ("Sidewalk", 244, 35, 232),
    ("Building", 70, 70, 70),
    ("Wall", 102, 102, 156),
    ("Fence", 190, 153, 153),
    ("Pole", 153, 153, 153),
    ("TrafficLight", 250, 170, 30),
    ("TrafficSign", 220, 220, 0),
    ("Vegetation", 107, 142, 35),
    ("Terrain", 152, 251, 152),
    ("Sky", 70, 130, 180),
    ("Person", 220, 20, 60),
    ("Rider", 255, 0, 0),
    ("Car", 0, 0, 142),
    ("Truck", 0, 0, 70),
    ("Bus", 0, 60, 100),
    ("Train", 0, 80, 100),
    ("Motorcycle", 0, 0, 230),
    ("Bicycle", 119, 11, 31),
    ("Bicycle", 119, 11, 32),  # Cityscapes' colour
    ("RoadLines", 157, 234, 50),
    ("Other", 72, 0, 98),
    ("RoadWorks", 167, 106, 29),
)
"""SYNTHIA-SF."""
NUMBERED = (
    *("Void", "Sky", "Building", "Road", "Sidewalk", "Fence", "Vegetation", "Pole", "Car", "TrafficSign"),
    *("Pedestrian", "Bicycle", "Motorcycle", "ParkingSlot", "RoadWork", "TrafficLight", "Terrain", "Rider"),
    *("Truck", "Bus", "Train", "Wall", "Lanemarking"),
)
"""SYNTHIA-RAND-CITYSCAPES, by value."""
THINGS = frozenset(
    ("Car", "Pedestrian", "Cyclist", "Bicycle", "Person", "Rider", "Truck", "Bus", "Train", "Motorcycle")
)


@dataclass(frozen=True)
class _Layout:
    images: str
    maps: str
    colors: Colors = ()


_LAYOUTS = (
    _Layout("RGB", "GT/LABELS"),
    _Layout("RGB", "GTTXT", RAND),
    _Layout("RGB", "GT", RAND),
    _Layout("RGB", "SemSeg", AL),
    _Layout("RGBLeft", "GTLeft", SF),
)


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return _layout(source) is not None


def open_source(source: Path, options: FormatOptions) -> Source:
    """SYNTHIA-RAND-CITYSCAPES, RAND (`RGB/`, `GT/` or `GTTXT/`), AL (`RGB/`, `SemSeg/`) or SF (`RGBLeft/`, `GTLeft/`).

    RAND-CITYSCAPES (`RGB/`, `GT/LABELS/`) numbers its objects, and what has no number is a crowd; in the others every
    connected part of a thing is an object. `label_colors.txt`, or the list that `--labels` gives, replaces the names.

    Raises:
        DatasetError: an image has no map or a map no image, or the names cannot be read.
    """
    layout = _layout(source)
    if layout is None:
        raise DatasetError(
            f"{source}: has neither RGB/ with GT/, GTTXT/ or SemSeg/ beside it, nor RGBLeft/ with GTLeft/."
        )
    is_text = layout.maps == "GTTXT"
    pairs = match_maps(source / layout.images, source / layout.maps, map_end=".txt" if is_text else ".png")
    names = _names(source, layout, options)
    if not layout.colors:
        labels = [Label(each.key, each.name, _is_thing(each, options), each.is_void, each.color) for each in names]
        return InstanceMaps.of(pairs, labels, _decode, options)
    categories = {
        each.name: SourceCategory(each.name, _is_thing(each, options), color=each.color)
        for each in names
        if not each.is_void
    }
    by_key = {(number if is_text else each.key): "" if each.is_void else each.name for number, each in enumerate(names)}
    decode = _read_text if is_text else partial(read_named_map, frozenset(by_key), names[0].value is None)
    return LabelMaps(
        list(categories.values()), [image for image, _ in pairs], [path for _, path in pairs], by_key, decode
    )


def _layout(source: Path) -> _Layout | None:
    found = (each for each in _LAYOUTS if (source / each.images).is_dir() and (source / each.maps).is_dir())
    return next(found, None)


def _names(source: Path, layout: _Layout, options: FormatOptions) -> list[LabelName]:
    own = source / "label_colors.txt"
    if options.labels is not None or own.is_file():
        return read_names(options.labels or own)
    if not layout.colors:
        return [LabelName(name, value, None) for value, name in enumerate(NUMBERED)]
    return [LabelName(name, None, (red, green, blue)) for name, red, green, blue in layout.colors]


def _is_thing(name: LabelName, options: FormatOptions) -> bool:
    return name.name in THINGS or name.name in options.things


def _decode(path: Path) -> tuple[Values, Values]:
    values = read_channels(path)
    if values.ndim == 2 or values.shape[2] < 3:
        raise DatasetError(
            f"{path}: is gray, but these maps hold class and object in red and green. Give them as published."
        )
    return values[..., 0], values[..., 1]


def _read_text(path: Path) -> Values:
    try:
        rows = [
            [int(word) for word in line.split()]
            for line in path.read_text(encoding="ascii").splitlines()
            if line.strip()
        ]
        values = np.array(rows, np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise DatasetError(f"{path}: is no table of whole numbers, a row of pixels a line ({error}).") from error
    if values.ndim != 2:
        raise DatasetError(f"{path}: holds no pixels. Write the file again.")
    return values
