"""Which images to predict: files, folders and patterns as a person names them."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.images import EvaluationSample, ImageLocation
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import Bands, image_extensions
from panoptic_blend.files.names import check_file_name
from panoptic_blend.files.pictures import read_picture

_KINDS_SHOWN = 8
"""Extensions that are named when files are left out."""


@dataclass(frozen=True)
class ImageFile:
    """An image and the relative name its results get."""

    path: Path
    name: str


@dataclass(frozen=True)
class FoundImages:
    """The images that inputs name, and what else lay there.

    Attributes:
        files: the images, each once.
        left_out: files in folders and of patterns whose extension is not one of images.
    """

    files: list[ImageFile]
    left_out: list[Path]


class Samples(Protocol):
    """Reads a sample at every access and keeps none; `EvaluationDataset` is one too."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> EvaluationSample:
        """Read one; `DatasetError` when that fails."""

    def locate(self, index: int) -> ImageLocation:
        """Id, name and file of one, which is not opened."""


class DivisibleSamples(Samples, Protocol):
    """Samples that several processes can share out.

    Attributes:
        read: opens an image file.
    """

    read: Callable[[Path], Bands]

    def only(self, indices: Sequence[int]) -> DivisibleSamples:
        """Some of them, in a copy that is small enough to be sent to another process."""


class ImageFiles:
    """Images without annotations, read when asked for.

    Args:
        read: opens a file.
        ids: of the images; None numbers them from 1.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        read: Callable[[Path], Bands] = read_picture,
        ids: Sequence[int] | None = None,
    ):
        self.files = files
        self.read = read
        self.ids = range(1, len(files) + 1) if ids is None else ids

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> EvaluationSample:
        file = self.files[index]
        try:
            check_file_name(file.name, str(file.path))
        except DatasetError as error:
            raise DatasetError(f"{file.path}: results cannot be written under such a name. Rename it.") from error
        image = self.read(file.path)
        record = ImageRecord(self.ids[index], file.name, image.shape[1], image.shape[0], "", [])
        return EvaluationSample(image, record, None)

    def locate(self, index: int) -> ImageLocation:
        """Id, name and file of an image."""
        return ImageLocation(self.ids[index], self.files[index].name, self.files[index].path)

    def only(self, indices: Sequence[int]) -> ImageFiles:
        """Some of the images, under the same ids."""
        return ImageFiles([self.files[i] for i in indices], self.read, [self.ids[i] for i in indices])


def find_images(inputs: Sequence[str], leave_out: Sequence[Path]) -> FoundImages:
    """List the images that inputs name, each once, in the order of the inputs and then of their names.

    A folder stands for every image in it and below, named relative to it; a pattern (`*`, `?`, `[...]`, `**`) for the
    images it matches, named relative to its part without wildcards. There, files are images when their extension is
    one that Pillow decodes; a file named by itself may have any. What is hidden is passed over. When two images would
    get one name, the later one is put in a folder named after its own.

    Args:
        inputs: files, folders and patterns.
        leave_out: folders of earlier results, which may lie inside an input.

    Raises:
        DatasetError: an input that does not exist, or that holds no images.
    """
    results = [_absolute(folder) for folder in leave_out]
    seen: set[Path] = set()
    named: dict[str, Path] = {}
    others: dict[Path, None] = {}
    for text in inputs:
        found = [file for file in _expand(text) if not any(map(_absolute(file.path).is_relative_to, results))]
        named_itself = Path(text).exists() and not Path(text).is_dir()
        if not found or not (named_itself or any(_is_image(file.path) for file in found)):
            left_out = describe_left_out([file.path for file in found])
            remedy = "Give an image, a folder with images, or a pattern in quotes."
            raise DatasetError(f"{text}: no images here{left_out and f' ({left_out})'}. {remedy}")
        for file in found:
            place = _absolute(file.path)
            if not (named_itself or _is_image(file.path)):
                others[place] = None
            elif place not in seen:
                seen.add(place)
                named[_free_name(file, named)] = file.path
    files = [ImageFile(path, name) for name, path in named.items()]
    return FoundImages(files, [path for path in others if path not in seen])


def describe_left_out(paths: Sequence[Path]) -> str:
    """Such as "left out 15 files that are no images: .txt 12, .mp4 3"; empty when there are none."""
    if not paths:
        return ""
    kinds = Counter(path.suffix.lower() or "without extension" for path in paths)
    shown = kinds.most_common(_KINDS_SHOWN)
    listed = [f"{kind} {count}" for kind, count in shown]
    if len(kinds) > _KINDS_SHOWN:
        listed.append(f"others {len(paths) - sum(count for _, count in shown)}")
    what = "1 file that is no image" if len(paths) == 1 else f"{len(paths)} files that are no images"
    return f"left out {what}: {', '.join(listed)}"


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in image_extensions()


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # not resolve(): two links to one image are two images


def _expand(text: str) -> Iterator[ImageFile]:
    if not text:
        raise DatasetError("An input has no name. Give an image, a folder with images, or a pattern in quotes.")
    path = Path(text)
    if path.is_dir():
        yield from _files_in(path)
    elif path.exists():
        yield ImageFile(path, path.name)
    elif glob.has_magic(text):
        root = Path(*_until_wildcard(path))
        for match in sorted(glob.glob(text, recursive=True)):
            if Path(match).is_file():
                yield ImageFile(Path(match), Path(match).relative_to(root).as_posix())
    else:
        raise DatasetError(f"{text}: no such file or folder.")


def _files_in(root: Path) -> Iterator[ImageFile]:
    above: dict[str, frozenset[str]] = {}  # the true folders on the way to each, itself included
    for folder, subfolders, names in os.walk(root, onerror=_raise, followlinks=True):
        way, place = above.get(os.path.dirname(folder), frozenset()), os.path.realpath(folder)
        if place in way:  # a link back to where it lies
            subfolders.clear()
            continue
        above[folder] = way | {place}
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
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
