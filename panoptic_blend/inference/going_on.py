"""A folder of predictions that one command after another goes on with: what it holds, and what is still to be done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from panoptic_blend.categories import Categories
from panoptic_blend.coco.predictions import FOLDER, PredictionWriter
from panoptic_blend.coco.progress import JOURNAL, START_OVER, Kept, Progress
from panoptic_blend.coco.segments_tiff import FOLDER as TIFF_FOLDER
from panoptic_blend.coco.segments_tiff import tiff_path
from panoptic_blend.errors import DatasetError, out_of_memory
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.files.names import ABOUT_A_NAME, remove_named
from panoptic_blend.inference.overlays import OVERLAY_FOLDER, overlay_path
from panoptic_blend.inference.sources import Samples
from panoptic_blend.inference.summaries import forget_summaries

PARTS = ".parts"
"""Folder in an output folder where several workers keep what they predict, each in a folder of its own."""
FAILURES = (DatasetError, MemoryError, RuntimeError, OSError)
"""What may be about one image alone; `explain_failure` tells."""


@dataclass(frozen=True)
class ToDo:
    """What a folder of predictions holds and lacks.

    Attributes:
        writer: of the folder.
        wanted: indices of the images to predict, or to use again.
        earlier: how many images an earlier run had predicted.
    """

    writer: PredictionWriter
    wanted: list[int]
    earlier: int


@contextmanager
def go_on(
    output: Path,
    source: Samples,
    console: Console,
    categories: Categories,
    made_with: Mapping[str, object],
    overwrite: bool,
    again: Callable[[Kept], bool],
) -> Iterator[ToDo]:
    """Open a folder of predictions, with what earlier runs left in it; its JSON is written at the end in any case.

    Args:
        source: of the images.
        console: is told how far it came when Ctrl-C or `kill` ends the block.
        categories, made_with, overwrite: as `PredictionWriter`'s.
        again: images of an earlier run that are wanted again.

    Raises:
        DatasetError: the folder holds predictions of other images, or made with another model or other settings.
    """

    def forget(png: str) -> None:
        for path in beside(output, png):
            remove_named(path)

    was_there = (output / JOURNAL).exists()  # else nothing in the folder is ours
    with PredictionWriter(output, categories, made_with, overwrite, forget) as writer:
        if overwrite:
            shutil.rmtree(output / PARTS, ignore_errors=True)
        join_parts(writer)
        kept = writer.progress.kept
        wanted = find_wanted(source, kept, output, again)
        if was_there and len(kept) < len(source):
            forget_summaries(output)  # of fewer images, or of others
        try:
            yield ToDo(writer, wanted, len(kept))
        except (KeyboardInterrupt, SystemExit):
            told = f"{len(kept)} of {len(source)} images are predicted, see {output / FOLDER}.json."
            console.print(f"Stopped: {told} The same command goes on.", soft_wrap=True, highlight=False, markup=False)
            raise
        finally:
            _remove_if_empty(output / PARTS)
            writer.progress.arrange(source.locate(index).image_id for index in range(len(source)))


def beside(output: Path, png: str) -> list[Path]:
    """What may lie in an output folder beside the PNG of an image: files named after it."""
    return [overlay_path(output, png), tiff_path(output, png)]


def part_folder(output: Path, number: int) -> Path:
    """Where a worker keeps its part of what is predicted into `output`."""
    return output / PARTS / f"{number:06}"


def join_parts(writer: PredictionWriter) -> None:
    """Take over every part that workers of an earlier run left: what failed in them is tried again."""
    for part in sorted((writer.output / PARTS).glob("[0-9]*")):
        join_part(writer, part)
    _remove_if_empty(writer.output / PARTS)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # it is not there, or not empty
        folder.rmdir()


def join_part(writer: PredictionWriter, part: Path) -> list[str]:
    """Take over what a worker kept in a folder, finished or not, and remove the folder.

    One image after the other: neither their number nor what is in them matters to memory. A process that is killed
    meanwhile loses nothing, since every image is in one of both folders.

    Returns:
        What went wrong, with the images' names.

    Raises:
        DatasetError: the part was made with something else.
    """
    failures: list[str] = []

    def bring(there: str, here: str) -> None:
        for path, target in zip(beside(part, there), beside(writer.output, here), strict=True):
            if path.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)

    with lock_folder(part, wait=True):  # of a worker that does not know yet that nobody waits for it
        has_more = any((part / folder).is_dir() for folder in (OVERLAY_FOLDER, TIFF_FOLDER))
        with closing(Progress(part, part / FOLDER, writer.made_with, overwrite=False)) as there:
            for row in there.rows():
                try:
                    png = part / FOLDER / row["annotation"]["file_name"]
                    writer.take(row, png, *([bring] if has_more else []))
                except FAILURES as error:
                    image = row["image"]
                    failures.append(explain_failure(error, image["file_name"], (image["height"], image["width"])))
        shutil.rmtree(part)
    return failures


def explain_failure(error: Exception, file_name: str, size: tuple[int, int] | None = None) -> str:
    """A sentence about what went wrong with one image; raises the error again when it is not about that image alone.

    Args:
        size: (height, width) of the image, where it is known.
    """
    if isinstance(error, DatasetError):
        return str(error)
    if out_of_memory(error):
        pixels = f" ({size[1]} x {size[0]} pixels)" if size else ""
        return (
            f"{file_name}{pixels}: does not fit into memory. Scale it down, or predict at a smaller "
            "--model.input.shortest_edge, which is built into an exported model."
        )
    if isinstance(error, OSError) and error.errno in ABOUT_A_NAME:
        return f"{file_name}: cannot be written under this name ({error.strerror}). Rename it."
    raise error


def describe_file(path: Path) -> list[int] | None:
    """Size and time of change, which tell versions of a file apart; None when there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def find_wanted(
    source: Samples, kept: Mapping[int | str, Kept], output: Path, again: Callable[[Kept], bool]
) -> list[int]:
    """Indices of the images to predict, or to use again: each is looked up once, since there may be millions.

    Raises:
        DatasetError: an image of an earlier run is not among the source's, or has changed since.
    """
    found, wanted = 0, []
    for index in range(len(source)):
        location = source.locate(index)
        before = kept.get(location.image_id)
        if before is None:
            wanted.append(index)
            continue
        found += 1
        if before.file_name != location.file_name:
            problem = f"image {location.image_id} was {before.file_name}, and is {location.file_name} now"
        elif before.image_file != describe_file(location.path):
            problem = f"{location.path} has changed since"
        else:
            wanted += [index] if again(before) else []
            continue
        raise DatasetError(f"{output}: holds predictions of other images: {problem}. {START_OVER}")
    if found < len(kept):
        asked = {source.locate(index).image_id for index in range(len(source))}
        gone = next(before.file_name for image_id, before in kept.items() if image_id not in asked)
        raise DatasetError(f"{output}: holds predictions of other images: {gone} is not asked for now. {START_OVER}")
    return wanted
