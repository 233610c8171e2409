"""Cityscapes: maps of instance ids, or its official panoptic JSON."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.convert.files import match_maps, read_map, require_folder
from panoptic_blend.convert.instance_maps import InstanceMaps, Label, Values, labels_of
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.panoptic_json import PanopticFile, open_panoptic_json
from panoptic_blend.convert.source import Source
from panoptic_blend.errors import DatasetError

IMAGE_END = "_leftImg8bit"

LABELS = (
    Label(0, "unlabeled", is_void=True, color=(0, 0, 0)),
    Label(1, "ego vehicle", is_void=True, color=(0, 0, 0)),
    Label(2, "rectification border", is_void=True, color=(0, 0, 0)),
    Label(3, "out of roi", is_void=True, color=(0, 0, 0)),
    Label(4, "static", is_void=True, color=(0, 0, 0)),
    Label(5, "dynamic", is_void=True, color=(111, 74, 0)),
    Label(6, "ground", is_void=True, color=(81, 0, 81)),
    Label(7, "road", color=(128, 64, 128)),
    Label(8, "sidewalk", color=(244, 35, 232)),
    Label(9, "parking", is_void=True, color=(250, 170, 160)),
    Label(10, "rail track", is_void=True, color=(230, 150, 140)),
    Label(11, "building", color=(70, 70, 70)),
    Label(12, "wall", color=(102, 102, 156)),
    Label(13, "fence", color=(190, 153, 153)),
    Label(14, "guard rail", is_void=True, color=(180, 165, 180)),
    Label(15, "bridge", is_void=True, color=(150, 100, 100)),
    Label(16, "tunnel", is_void=True, color=(150, 120, 90)),
    Label(17, "pole", color=(153, 153, 153)),
    Label(18, "polegroup", is_void=True, color=(153, 153, 153)),
    Label(19, "traffic light", color=(250, 170, 30)),
    Label(20, "traffic sign", color=(220, 220, 0)),
    Label(21, "vegetation", color=(107, 142, 35)),
    Label(22, "terrain", color=(152, 251, 152)),
    Label(23, "sky", color=(70, 130, 180)),
    Label(24, "person", is_thing=True, color=(220, 20, 60)),
    Label(25, "rider", is_thing=True, color=(255, 0, 0)),
    Label(26, "car", is_thing=True, color=(0, 0, 142)),
    Label(27, "truck", is_thing=True, color=(0, 0, 70)),
    Label(28, "bus", is_thing=True, color=(0, 60, 100)),
    Label(29, "caravan", is_thing=True, is_void=True, color=(0, 0, 90)),
    Label(30, "trailer", is_thing=True, is_void=True, color=(0, 0, 110)),
    Label(31, "train", is_thing=True, color=(0, 80, 100)),
    Label(32, "motorcycle", is_thing=True, color=(0, 0, 230)),
    Label(33, "bicycle", is_thing=True, color=(119, 11, 32)),
)
"""Cityscapes' labels; those that its evaluation ignores are void. KITTI has the same."""


def recognise(source: Path) -> bool:
    """Whether a path looks like this format."""
    return ((source / "gtFine").is_dir() and (source / "leftImg8bit").is_dir()) or _split_of_json(source) is not None


def open_source(source: Path, options: FormatOptions) -> Source:
    """`leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and `gtFine/SPLIT/CITY/*_instanceIds.png`, or a panoptic JSON.

    Raises:
        DatasetError: a folder is missing, an image has no map or a map no image, or the JSON does not hold together.
    """
    if source.is_file():
        return _open_json(source, options)
    images, maps = options.images or source / "leftImg8bit", require_folder(options.maps or source / "gtFine")
    map_end = "_gtCoarse_instanceIds.png" if maps.name == "gtCoarse" else "_gtFine_instanceIds.png"
    folders = [folder for folder in sorted(maps.glob("*/")) if (require_folder(images) / folder.name).is_dir()]
    if not folders:
        raise DatasetError(f"{maps}: has no folder that {images} has too. Give both their train/ and val/.")
    pairs = [
        pair for folder in folders for pair in match_maps(images / folder.name, folder, folder.name, IMAGE_END, map_end)
    ]
    return InstanceMaps.of(pairs, labels_of(options, LABELS), _decode, options)


def _decode(path: Path) -> tuple[Values, Values]:
    values = read_map(path)
    if values.ndim > 2:
        raise DatasetError(
            f"{path}: is in colour, but instance ids are gray. Take the file that ends in instanceIds.png."
        )
    values = values.astype(np.int64)
    is_object = values >= 1000
    return np.where(is_object, values // 1000, values), np.where(is_object, values % 1000 + 1, 0)


def _split_of_json(path: Path) -> str | None:
    match = re.fullmatch(r"cityscapes_panoptic_(train|val|test)(_trainId)?\.json", path.name)
    return match[1] if match else None


def _open_json(path: Path, options: FormatOptions) -> Source:
    split = _split_of_json(path) or ""
    images = options.images or path.parent.parent / "leftImg8bit" / split
    return open_panoptic_json([PanopticFile(path, images, split)], _image_name)


def _image_name(record: ImageRecord) -> str:
    # The official file gives names that no image has: CITY_000000_000019_gtFine_leftImg8bit.png.
    image_id = str(record.image_id)
    return f"{image_id.split('_')[0]}/{image_id}{IMAGE_END}.png"
