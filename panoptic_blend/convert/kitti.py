"""KITTI's semantic benchmark: 16-bit maps of category x 256 + instance."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.convert.cityscapes import LABELS
from panoptic_blend.convert.files import match_maps, read_deep_map
from panoptic_blend.convert.instance_maps import InstanceMaps, Values, labels_of
from panoptic_blend.convert.options import FormatOptions


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    root = _root(source)
    return (root / "image_2").is_dir() and (root / "instance").is_dir()


def open_source(source: Path, options: FormatOptions) -> InstanceMaps:
    """`image_2/` and `instance/` of the same names, in the folder or in its `training/`.

    Instance 0 of a thing is a crowd. The labels are those of Cityscapes, unless `--labels` lists others.

    Raises:
        DatasetError: a folder is missing, an image has no map or a map no image.
    """
    root = _root(source)
    pairs = match_maps(options.images or root / "image_2", options.maps or root / "instance")
    return InstanceMaps.of(pairs, labels_of(options, LABELS), _decode, options)


def _root(source: Path) -> Path:
    return source if (source / "image_2").is_dir() else source / "training"


def _decode(path: Path) -> tuple[Values, Values]:
    values = read_deep_map(path, "category x 256 + instance")
    return values // 256, values % 256
