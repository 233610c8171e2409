"""Files of a data set: images and the maps that go with them."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.convert.source import SourceImage
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.deep_png import is_deep_png, read_deep_png
from panoptic_blend.files.images import opened
from panoptic_blend.files.names import check_file_name

DAMAGED_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises on damaged files."""


def require_folder(folder: Path) -> Path:
    """The folder itself; `DatasetError` when it is not there."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder.")
    return folder


def visible(folder: Path, pattern: str) -> list[Path]:
    """What a folder has of a pattern, by name, without what systems and editors hide in it (._NAME, .DS_Store,
    __MACOSX, .ipynb_checkpoints).
    """
    return [
        path
        for path in sorted(folder.glob(pattern))
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
    ]


def list_images(folder: Path) -> list[SourceImage]:
    """Every image in a folder and below, by name; hidden ones are passed over.

    Raises:
        DatasetError: there is no such folder, or no image in it.
    """
    Image.init()
    extensions = Image.registered_extensions()
    found = [
        SourceImage(path, path.relative_to(folder).as_posix())
        for path in visible(require_folder(folder), "**/*")
        if path.suffix.lower() in extensions and path.is_file()
    ]
    if not found:
        raise DatasetError(f"{folder}: no images here.")
    return found


def match_maps(
    images: Path, maps: Path, split: str = "", image_end: str = "", map_end: str = ".png"
) -> list[tuple[SourceImage, Path]]:
    """Every image of a folder with the map of the same relative name, but for the ending, in another.

    Args:
        images, maps: the folders.
        split: of the images.
        image_end: what the names of images end with, before their extension; others are passed over.
        map_end: what the maps' names end with instead, with the extension.

    Raises:
        DatasetError: a folder is missing, an image has no map or a map no image.
    """
    pairs = []
    require_folder(maps)
    for image in list_images(images):
        stem = str(PurePosixPath(image.name).with_suffix(""))
        if not stem.endswith(image_end):
            continue
        path = maps / f"{stem.removesuffix(image_end)}{map_end}"
        if not path.is_file():
            raise DatasetError(f"{image.path}: has no label map {path}. Add it, or take the image out.")
        pairs.append((replace(image, split=split), path))
    used = {path for _, path in pairs}
    surplus = [path for path in visible(maps, f"**/*{map_end}") if path not in used]
    if surplus:
        raise DatasetError(f"{surplus[0]}: has no image in {images}. Add it, or take the map out.")
    return pairs


def match_splits(
    images: Path, maps: Path, image_end: str = "", map_end: str = ".png"
) -> list[tuple[SourceImage, Path]]:
    """As `match_maps`; where the maps have a folder a split (train, val, test...) and nothing else, split by split.

    Raises:
        DatasetError: as `match_maps`.
    """
    folders = [path for path in sorted(require_folder(maps).iterdir()) if not path.name.startswith(".")]
    if not folders or not all(map(is_split_folder, folders)):
        return match_maps(images, maps, "", image_end, map_end)
    return [
        pair
        for folder in folders
        for pair in match_maps(images / folder.name, folder, split_of_folder(folder.name), image_end, map_end)
    ]


def split_of_folder(name: str) -> str:
    """The split that a folder's name means: training is train, valid and validation val, testing test."""
    folded = name.casefold()
    meaning = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}.get(folded, folded)
    return meaning if meaning in ("train", "val", "test") else name


def is_split_folder(path: Path) -> bool:
    """Whether a folder holds a split by its name: train, val, test, valid, training..."""
    return split_of_folder(path.name) in ("train", "val", "test") and path.is_dir()


def read_map(path: Path, palette_as_colors: bool = False) -> npt.NDArray[np.integer]:
    """A label map's values: [H, W] of gray levels (8 or 16 bits) or palette indices, or uint8 [H, W, 3] of colours.

    Args:
        palette_as_colors: give the colours of a palette instead of its indices.

    Raises:
        DatasetError: the file is missing or damaged, or has colours of 16 bits.
    """
    values = read_channels(path, palette_as_colors)
    if values.ndim == 2:
        return values
    if values.dtype != np.uint8:
        raise DatasetError(f"{path}: has 16 bits a channel, but colours of label maps have 8. Save it in that mode.")
    return values[..., 0] if values.shape[2] == 2 else values[..., :3]


def read_channels(path: Path, palette_as_colors: bool = False) -> npt.NDArray[np.integer]:
    """All a map holds: gray levels or palette indices [H, W], or [H, W, C] with transparency as the last channel.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    if is_deep_png(path):
        return read_deep_png(path)
    try:
        with opened(path) as image:
            if image.mode in ("P", "PA"):
                image = image.convert("RGB") if palette_as_colors else image.convert("P")
            values = np.asarray(image)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such label map.") from None
    except DAMAGED_IMAGE as error:
        raise DatasetError(f"{path}: cannot be read as a label map ({error}). Write the file again.") from error
    if values.dtype == bool:
        return values.astype(np.uint8)
    return values


def read_deep_map(path: Path, meaning: str) -> npt.NDArray[np.integer]:
    """The values [H, W] of a gray map of 16 bits.

    Args:
        meaning: of a value, for the error message: "category x 256 + instance".

    Raises:
        DatasetError: the file is missing or damaged, or has colours or 8 bits.
    """
    values = read_channels(path)
    if values.ndim > 2 or values.dtype == np.uint8:
        found = "8-bit gray" if values.ndim == 2 else "in colour"
        raise DatasetError(f"{path}: is {found}, but {meaning} needs a gray PNG of 16 bits. Save it in that mode.")
    return values


def check_size(values: npt.NDArray[np.integer], path: Path, others: npt.NDArray[np.integer], other_path: Path) -> None:
    """Raise `DatasetError` when two maps, read from the two paths, have other heights or widths."""
    if values.shape[:2] != others.shape[:2]:
        raise DatasetError(
            f"{path}: is {values.shape[1]} x {values.shape[0]}, but {other_path} is {others.shape[1]} x "
            f"{others.shape[0]}. Save both at the size of the image."
        )


def as_color(value: object, where: str) -> tuple[int, int, int] | None:
    """A colour out of a JSON, where there is one: a list of three numbers 0..255; `DatasetError` for anything else."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in value):
        raise DatasetError(f"{where}: the colour must be three whole numbers in 0..255, found {value!r}.")
    red, green, blue = value
    return red, green, blue


def color_code(color: tuple[int, int, int]) -> int:
    """A colour as one number: R x 65536 + G x 256 + B."""
    return color[0] << 16 | color[1] << 8 | color[2]


def colors_to_codes(values: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Colours [H, W, 3] as the `color_code` of every pixel; other maps as they are."""
    if values.ndim == 2:
        return values
    red, green, blue = np.moveaxis(values.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue


def read_named_map(names: Collection[int], is_color: bool, path: Path) -> npt.NDArray[np.integer]:
    """A map's values [H, W], for a list of names of values, or of colours, whose `color_code`s are given then.

    Args:
        names: the values or codes of the list.
        is_color: the list is one of colours; palettes are read as such.

    Raises:
        DatasetError: the map has colours and the list values, or the other way round, or a colour that it lacks.
    """
    values = read_map(path, palette_as_colors=is_color)
    if is_color != (values.ndim == 3):
        holds, named = ("colours", "values") if values.ndim == 3 else ("values", "colours")
        raise DatasetError(f"{path}: holds {holds}, but the list of names has {named}. Name the {holds}.")
    return colors_to_values(values, {name: name for name in names}, path)


def colors_to_values(
    values: npt.NDArray[np.integer], by_color: Mapping[int, int], path: Path
) -> npt.NDArray[np.integer]:
    """Colours [H, W, 3] as the values that a list by `color_code` gives them; other maps as they are.

    Raises:
        DatasetError: a colour that the list lacks.
    """
    if values.ndim == 2:
        return values
    codes, positions = contiguous_labels(colors_to_codes(values))
    unknown = [position for position, code in enumerate(codes.tolist()) if code not in by_color]
    if unknown:
        code = int(codes[unknown[0]])
        raise DatasetError(
            f"{path}: {int((positions == unknown[0]).sum())} pixels have the colour {code >> 16}, {code >> 8 & 255}, "
            f"{code & 255} (R, G, B), which nobody named. Name it, or declare it void."
        )
    return np.array([by_color[code] for code in codes.tolist()], np.int64)[positions]


def folder_with(
    name: str, folders: Sequence[Path], where: Path, remedy: str = "Say where the images are with --images DIR."
) -> Path:
    """The first of some folders that has a file.

    Args:
        name: of the file, relative to the folder.
        where: the annotations that name it.
        remedy: what to do where none has it.

    Raises:
        DatasetError: none has it.
    """
    for folder in folders:
        if (folder / name).is_file():
            return folder
    looked = ", ".join(map(str, dict.fromkeys(folders)))
    raise DatasetError(f"{where}: the image {name} is not in {looked}. {remedy}")


def split_named(name: str, where: str) -> str:
    """As `split_of_folder`, of the name that an annotation tool gives; "" and default are no split.

    Raises:
        DatasetError: a name that cannot be one of files.
    """
    split = "" if name.casefold() == "default" else split_of_folder(name)
    if not re.fullmatch(r"[\w. -]*", split) or split.startswith("."):
        raise DatasetError(f"{where}: the split {name!r} cannot be part of a file's name. Rename it.")
    return split


def image_name(name: str, images: Path | None, where: str) -> str:
    """The name of an image in an annotation file; where `--images` says where images are, only its last part counts.

    Raises:
        DatasetError: it leaves its folder.
    """
    name = name.replace("\\", "/")
    return check_file_name(name.rpartition("/")[2] if images else name, where)


def hex_color(text: str) -> tuple[int, int, int] | None:
    """A colour written as #RRGGBB; None for anything else."""
    match = re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text.strip())
    return None if match is None else (int(match[1], 16), int(match[2], 16), int(match[3], 16))
