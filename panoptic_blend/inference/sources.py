"""Which images to predict: files, folders and patterns as a person names them."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.data.dataset import EvaluationSample, ImageLocation
from panoptic_blend.data.images import read_image
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import check_file_name

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".jp2"))
"""What counts as an image inside a folder; a file named by itself may have any extension."""


@dataclass(frozen=True)
class ImageFile:
    """An image and the relative name its results get."""

    path: Path
    name: str


class Samples(Protocol):
    """Reads a sample at every access and keeps none; `EvaluationDataset` is one too."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> EvaluationSample:
        """Read one; `DatasetError` when that fails."""

    def locate(self, index: int) -> ImageLocation:
        """Id, name and file of one, which is not opened."""


class ImageFiles:
    """Images without annotations, numbered from 1 and read when asked for."""

    def __init__(self, files: Sequence[ImageFile]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> EvaluationSample:
        file = self.files[index]
        try:
            check_file_name(file.name, str(file.path))
        except DatasetError as error:
            raise DatasetError(f"{file.path}: results cannot be written under such a name. Rename it.") from error
        image = read_image(file.path)
        return EvaluationSample(image, ImageRecord(index + 1, file.name, image.shape[2], image.shape[1], "", []), None)

    def locate(self, index: int) -> ImageLocation:
        """Id, name and file of an image."""
        return ImageLocation(index + 1, self.files[index].name, self.files[index].path)


def find_images(inputs: Sequence[str], leave_out: Sequence[Path]) -> list[ImageFile]:
    """List the images that inputs name, each once, in the order of the inputs and then of their names.

    A folder stands for every image in it and below, named relative to it; a pattern (`*`, `?`, `[...]`, `**`) for the
    images it matches, named relative to its part without wildcards. When two images would get one name, the later
    one is put in a folder named after its own.

    Args:
        inputs: files, folders and patterns.
        leave_out: folders of earlier results, which may lie inside an input.

    Raises:
        DatasetError: an input that does not exist, or that holds no images.
    """
    results = [_absolute(folder) for folder in leave_out]
    seen: set[str] = set()
    named: dict[str, Path] = {}
    for text in inputs:
        found = [file for file in _expand(text) if not any(map(_absolute(file.path).is_relative_to, results))]
        if not found:
            raise DatasetError(f"{text}: no images here. Give an image, a folder with images, or a pattern in quotes.")
        for file in found:
            if str(_absolute(file.path)) not in seen:
                seen.add(str(_absolute(file.path)))
                named[_free_name(file, named)] = file.path
    return [ImageFile(path, name) for name, path in named.items()]


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # not resolve(): two links to one image are two images


def _expand(text: str) -> Iterator[ImageFile]:
    if not text:
        raise DatasetError("An input has no name. Give an image, a folder with images, or a pattern in quotes.")
    path = Path(text)
    if path.is_dir():
        yield from _images_in(path)
    elif path.exists():
        yield ImageFile(path, path.name)
    elif glob.has_magic(text):
        root = Path(*_until_wildcard(path))
        for match in sorted(glob.glob(text, recursive=True)):
            if Path(match).is_file() and Path(match).suffix.lower() in EXTENSIONS:
                yield ImageFile(Path(match), Path(match).relative_to(root).as_posix())
    else:
        raise DatasetError(f"{text}: no such file or folder.")


def _images_in(root: Path) -> Iterator[ImageFile]:
    above: dict[str, frozenset[str]] = {}  # the true folders on the way to each, itself included
    for folder, subfolders, names in os.walk(root, onerror=_raise, followlinks=True):
        way, place = above.get(os.path.dirname(folder), frozenset()), os.path.realpath(folder)
        if place in way:  # a link back to where it lies
            subfolders.clear()
            continue
        above[folder] = way | {place}
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in EXTENSIONS and not name.startswith("."):
                path = Path(folder) / name
                yield ImageFile(path, path.relative_to(root).as_posix())


def _raise(error: OSError) -> None:
    raise DatasetError(f"{error.filename}: cannot be looked into ({error.strerror}). Leave it out or allow it.")


def _until_wildcard(path: Path) -> Iterator[str]:
    for part in path.parts:
        if glob.has_magic(part):
            return
        yield part


def _free_name(file: ImageFile, taken: Collection[str]) -> str:
    name, parent = file.name, _absolute(file.path).parent
    while name in taken:
        name, parent = f"{parent.name or 'root'}/{name}", parent.parent
    return name
