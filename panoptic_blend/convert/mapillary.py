"""Mapillary Vistas 1.2 and 2.0: 16-bit maps of label x 256 + instance, or its panoptic JSON."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.coco.json_rows import read_json
from panoptic_blend.convert.files import as_color, match_maps, read_deep_map, split_of_folder
from panoptic_blend.convert.instance_maps import InstanceMaps, Label, Values
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.panoptic_json import PanopticFile, open_panoptic_json
from panoptic_blend.convert.source import Source
from panoptic_blend.errors import DatasetError


def recognise(source: Path) -> bool:
    """Whether a path looks like this format."""
    return bool(_configs(source)) or _is_panoptic_json(source)


def open_source(source: Path, options: FormatOptions) -> Source:
    """`config_VERSION.json`, `SPLIT/images/`, and `SPLIT/VERSION/instances/` or `SPLIT/instances/`; or a panoptic JSON.

    The newest version there is is read; `--labels CONFIG` takes another. The maps tell of no crowds, the JSON does.

    Raises:
        DatasetError: no configuration or no split, an image has no map or a map no image, or a JSON that is not valid.
    """
    if source.is_file():
        split = source.parents[2] if re.fullmatch(r"v\d\.\d", source.parents[1].name) else source.parents[1]
        images = options.images or split / "images"
        return open_panoptic_json([PanopticFile(source, images, split_of_folder(split.name), source.parent)])
    configs = [options.labels] if options.labels else _configs(source)
    if not configs:
        raise DatasetError(f"{source}: has no config_v2.0.json, config_v1.2.json or config.json. Give it as --labels.")
    labels = _read_config(configs[-1])
    version = re.search(r"v\d\.\d", configs[-1].name)
    pairs = []
    for folder in sorted(source.glob("*/")):
        versioned = folder / version[0] / "instances" if version else folder / "instances"
        maps = versioned if versioned.is_dir() else folder / "instances"
        if maps.is_dir():
            pairs += match_maps(folder / "images", maps, split_of_folder(folder.name))
    if not pairs:
        raise DatasetError(
            f"{source}: no folder in it has {version[0] + '/' if version else ''}instances/ and images/."
        )
    # The ids of the categories are those of Mapillary's panoptic JSON, which count from 1.
    things = frozenset(label.value for label in labels if label.is_thing)
    return InstanceMaps.of(pairs, labels, partial(_decode, things), options, first_id=1)


def _configs(source: Path) -> list[Path]:
    """The newest last."""
    return [path for name in ("", "_v1.2", "_v2.0") if (path := source / f"config{name}.json").is_file()]


def _is_panoptic_json(path: Path) -> bool:
    return re.fullmatch(r"panoptic_20\d\d\.json", path.name) is not None and path.is_file()


def _read_config(path: Path) -> list[Label]:
    rows = read_json(path, "the config.json of Mapillary Vistas").get("labels")
    if not isinstance(rows, list) or not rows:
        raise DatasetError(f"{path}: has no list 'labels'. Give the configuration that the data set came with.")
    return [_label(value, row, f"{path}: labels[{value}]") for value, row in enumerate(rows)]


def _label(value: int, row: object, where: str) -> Label:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise DatasetError(f"{where}: expected an object with 'name', 'instances', 'evaluate' and 'color'.")
    is_thing, is_void = bool(row.get("instances")), not row.get("evaluate", True)
    return Label(value, row["name"], is_thing, is_void, as_color(row.get("color"), where))


def _decode(things: frozenset[int], path: Path) -> tuple[Values, Values]:
    values = read_deep_map(path, "label x 256 + instance").astype(np.int64)
    labels = values >> 8
    return labels, np.where(np.isin(labels, list(things)), (values & 255) + 1, 0)
