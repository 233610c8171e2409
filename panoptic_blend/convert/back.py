"""COCO panoptic data, truth or predictions, in another format: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.convert.summary import Lost, Summary
from panoptic_blend.convert.target import Scene, Target, Written
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.files.images import check_image
from panoptic_blend.files.names import check_category_name, comparison_key
from panoptic_blend.processes import in_processes


@dataclass(frozen=True)
class _Work:
    """What every process needs; `images` is None where labels are wanted alone."""

    target: Target
    annotations: PanopticAnnotations
    segments: Path
    images: Path | None
    link: bool
    root: Path


def convert_back(
    annotations: PanopticAnnotations,
    output: Path,
    target: Target,
    split: str,
    segments: Path | None = None,
    images: Path | None = None,
    link: bool = False,
    workers: int = 1,
    progress: Callable[[], None] | None = None,
) -> Summary:
    """Write a data set or predictions in another format.

    The same data give the same bytes, whatever the number of processes. `output/summary.txt` lists what was lost.

    Args:
        annotations: of the data.
        output: a folder that is missing or empty; it appears when everything is in it.
        target: the format.
        split: what the summary calls the images.
        segments: folder of the id maps; None takes the usual one.
        images: folder of the images, which are copied to where the format has them; None writes labels alone.
        link: link to the images instead.
        workers: processes.
        progress: called after every image.

    Raises:
        ConfigError: the output folder has something in it already.
        DatasetError: an image or its map cannot be read, or two images or categories cannot be told apart in the
            format; nothing is written.
    """
    _check_names(annotations, target)
    for category in annotations.categories:
        check_category_name(category.name)
    if not len(annotations):
        raise DatasetError(f"{annotations.path}: lists no images.")
    folder = segments or annotations.default_segments_folder
    summary = Summary({split: len(annotations)}, annotations.categories, notes=list(target.notes))

    def noted() -> Iterator[Written]:
        scores = 0
        for record, written in zip(annotations, done, strict=True):
            summary.segments.update(annotations.categories.by_id(each.category_id).name for each in record.segments)
            scores += sum(each.score is not None for each in record.segments)
            summary.lost += [Lost(record.file_name, what) for what in written.lost]
            yield written
            if progress is not None:
                progress()
        if scores and not target.keeps_scores:
            summary.notes.append(f"The scores of {scores} segments are left out: the format has no place for them.")

    with atomic_folder(output) as root:
        work = _Work(target, annotations, folder, images, link, root)
        done = in_processes(partial(_write_one, work), range(len(annotations)), workers)
        target.finish(root, annotations, noted())
        summary.write(root)
    return summary


def _check_names(annotations: PanopticAnnotations, target: Target) -> None:
    for name, times in Counter(each.name for each in annotations.categories).items():
        if times > 1:
            raise DatasetError(f"{annotations.path}: {times} categories are named {name!r}. Give each its own name.")
    owners: dict[str, str] = {}
    for record in annotations:
        path = target.labels_path(record.file_name)
        other = owners.setdefault(comparison_key(path), record.file_name) if path else record.file_name
        if other != record.file_name:
            raise DatasetError(
                f"{annotations.path}: the labels of {other} and {record.file_name} would both be {path}. Rename an "
                "image."
            )


def _write_one(work: _Work, index: int) -> Written:
    record = work.annotations[index]
    categories = work.annotations.categories
    id_map = read_segments(record, work.segments, categories, work.annotations.path)
    if work.images is not None:
        path, place = work.images / record.file_name, work.root / work.target.image_path(record.file_name)
        height, width = check_image(path)
        if (height, width) != id_map.shape:
            raise DatasetError(
                f"{path}: is {width} x {height}, but its annotation is made for {record.width} x {record.height}. Give "
                "the images that were annotated."
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        if work.link:
            os.symlink(os.path.abspath(path), place)
        else:
            shutil.copyfile(path, place)
    return work.target.write(Scene(record, id_map, categories), work.root)
