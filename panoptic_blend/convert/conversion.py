"""A data set of some format becomes one of COCO panoptic: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from panoptic_blend.categories import Categories, Category
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.coco.truth import TruthWriter, segments_info
from panoptic_blend.convert.painting import Overlap, paint
from panoptic_blend.convert.source import Source
from panoptic_blend.convert.summary import Lost, Summary
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.files.images import check_image
from panoptic_blend.processes import in_processes

Images = Literal["copy", "link", "leave"]


@dataclass(frozen=True)
class _Work:
    """What every process needs."""

    source: Source
    categories: Mapping[str, Category]
    overlap: Overlap
    min_area: int
    images: Images


@dataclass(frozen=True)
class _Task:
    """One image: its position in the source, and where it and its PNG go."""

    index: int
    image: Path
    png: Path


@dataclass(frozen=True)
class _Done:
    width: int
    height: int
    rows: list[dict[str, object]]
    lost: list[str]
    overlaps: int


def convert(
    source: Source,
    output: Path,
    categories: Categories,
    meaning: Mapping[str, Category],
    splits: Mapping[str, Sequence[int]],
    overlap: Overlap = "smaller",
    min_area: int = 1,
    images: Images = "copy",
    workers: int = 1,
    progress: Callable[[], None] | None = None,
) -> Summary:
    """Write `output/SPLIT/`, `output/annotations/panoptic_SPLIT.json` and `output/panoptic_SPLIT/` for every split.

    The same source gives the same bytes, whatever the number of processes. `output/summary.txt` lists what was lost.

    Args:
        source: the data set.
        output: a folder that is missing or empty; it appears when everything is in it.
        categories: of the result.
        meaning: which of them each name of the source means; regions of other names become void.
        splits: positions of the source's images.
        overlap, min_area: as of `paint`.
        images: "copy" them, "link" to them, or "leave" them where they are (their names then start at the folder that
            they have in common).
        workers: processes.
        progress: called after every image.

    Raises:
        ConfigError: the output folder has something in it already.
        DatasetError: an image or its labels cannot be read, or do not fit each other, or no label can be used; nothing
            is written.
    """
    with atomic_folder(output) as staging:
        work = _Work(source, meaning, overlap, min_area, images)
        summary = _convert_into(staging, work, categories, splits, workers, progress)
        summary.write(staging)
    return summary


def common_folder(source: Source) -> Path:
    """The folder that all images lie below, which names start at where images are left in their places."""
    return Path(os.path.commonpath([os.path.abspath(image.path.parent) for image in source.images]))


def _convert_into(
    root: Path,
    work: _Work,
    categories: Categories,
    splits: Mapping[str, Sequence[int]],
    workers: int,
    progress: Callable[[], None] | None,
) -> Summary:
    source, names = work.source, {category.id: category.name for category in categories}
    summary = Summary({split: len(indices) for split, indices in splits.items()}, categories)
    folder = common_folder(source)
    with ExitStack() as stack:
        tasks: list[tuple[TruthWriter, str, str, _Task]] = []
        for split, indices in splits.items():
            writer = stack.enter_context(TruthWriter(root, split, categories))
            paths: dict[str, Path] = {}
            for index in indices:
                image = source.images[index]
                name = image.name
                if work.images == "leave":
                    name = os.path.relpath(os.path.abspath(image.path), folder).replace(os.sep, "/")
                if name in paths:
                    raise DatasetError(_named_twice(name, paths[name], image.path))
                paths[name] = image.path
                png = writer.free_name(name)
                tasks.append((writer, name, png, _Task(index, root / split / name, writer.staging / png)))
        done = in_processes(partial(_convert_one, work), [task for *_, task in tasks], workers)
        for (writer, name, png, _), result in zip(tasks, done, strict=True):
            writer.add(name, png, result.width, result.height, result.rows)
            summary.segments.update(names[int(str(row["category_id"]))] for row in result.rows)
            summary.lost += [Lost(name, what) for what in result.lost]
            summary.overlaps += result.overlaps
            if progress is not None:
                progress()
        if summary.lost and not summary.segments:
            first = summary.lost[0]
            raise DatasetError(f"None of the labels can be used. The first: {first.file_name}: {first.what}.")
    return summary


def _named_twice(name: str, first: Path, second: Path) -> str:
    if first == second:
        return f"{first}: the data set lists this image twice. List it once."
    return f"{first} and {second}: two images are named {name!r}. Give every image its own name."


def _convert_one(work: _Work, task: _Task) -> _Done:
    image = work.source.images[task.index]
    size = check_image(image.path)
    labels = work.source.read(task.index)
    if size != (labels.height, labels.width):
        raise DatasetError(
            f"{image.path}: is {size[1]} x {size[0]}, but its labels are made for {labels.width} x {labels.height}. "
            "Give image and labels the same size."
        )
    try:
        painted = paint(labels, work.categories, work.overlap, work.min_area)
    except DatasetError as error:
        raise DatasetError(f"{image.path}: {error}") from error
    write_id_map(task.png, painted.id_map)
    if work.images != "leave":
        task.image.parent.mkdir(parents=True, exist_ok=True)
        if work.images == "copy":
            shutil.copyfile(image.path, task.image)
        else:
            os.symlink(os.path.abspath(image.path), task.image)
    rows = segments_info(painted.id_map, painted.segments)
    return _Done(labels.width, labels.height, rows, painted.lost, painted.overlaps)
