"""Roboflow's COCO export: a folder a split, with its images and `_annotations.coco.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from panoptic_blend.convert.coco_instances import CocoFile, CocoInstances, open_files
from panoptic_blend.convert.files import split_named
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.errors import DatasetError

_NAME = "_annotations.coco.json"


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(_files(source))


def open_source(source: Path, options: FormatOptions) -> CocoInstances:
    """`train/`, `valid/` and `test/`, or one such folder.

    Raises:
        DatasetError: there is no `_annotations.coco.json`, or one does not hold together.
    """
    paths = _files(source)
    if not paths:
        raise DatasetError(f"{source}: no {_NAME} here or in the folders of it. Export as COCO Segmentation.")
    files = []
    for path in paths:
        split = split_named(path.parent.name, str(path)) if path.parent != source else ""
        images = options.images / path.parent.name if options.images else path.parent
        files.append(CocoFile(path, [images], split))
    data = open_files(files, options)
    # The group that a project's classes belong to is listed as category 0, without annotations.
    used = {row["category"] for rows in data.rows for row in json.loads(rows)}
    return replace(data, categories=[each for each in data.categories if each.id != 0 or each.name in used])


def _files(source: Path) -> list[Path]:
    here = source / _NAME
    return [here] if here.is_file() else sorted(source.glob(f"*/{_NAME}"))
