"""Label Studio's JSON export: polygons in percent, and brush strokes in its own run-length code."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.fields import begins_with, field, has_words, points_of, read_json_file, size_field, typed
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.shapes import (
    add_ellipse,
    add_placed,
    add_polygons,
    bytes_of_base64,
    check_area,
    mask_of_png,
)
from panoptic_blend.convert.source import ImageLabels, Mask, SourceCategory, SourceImage, region_from_mask
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import check_image
from panoptic_blend.files.names import check_file_name

_LABELS = (
    "polygonlabels",
    "brushlabels",
    "bitmasklabels",
    "ellipselabels",
    "rectanglelabels",
    "keypointlabels",
    "vectorlabels",
    "labels",
)
_GEOMETRY = ("points", "rle", "imageDataURL", "vertices", "x")
_CHANNELS = 4
_UPLOADED = re.compile(r"[0-9a-f]{8}-")
"""What an upload puts in front of a file's name."""

_Values = dict[str, dict[str, object]]
"""The rows of a task's result by their id."""


def recognise(source: Path) -> bool:
    """Whether a file looks like this format."""
    is_list = source.suffix.lower() == ".json" and begins_with(source, b"[")
    return is_list and has_words(source, b'"annotations"', b'"result"')


def open_source(source: Path, options: FormatOptions) -> LabelStudio:
    """The JSON export (not JSON-MIN); images are looked for by their names, below `--images` or beside the file.

    Raises:
        DatasetError: the file cannot be read, or an image is not found.
    """
    folders = [options.images] if options.images else [source.parent, source.parent / "images"]
    images: list[SourceImage] = []
    results: list[str] = []
    names: set[str] = set()
    for position, task in enumerate(typed(read_json_file(source, "Label Studio's JSON export"), list, str(source))):
        where = f"{source}: task {position + 1}"
        if "annotations" not in typed(task, dict, where):
            raise DatasetError(f"{where}: has no 'annotations'. Export as JSON, not as JSON-MIN.")
        images.append(_find(_image_of(field(task, "data", dict, where), where), folders, where))
        values, lost = _result(field(task, "annotations", list, where), where)
        names |= {label for value in values.values() for label in _labels(value, where)[:1]}
        results.append(json.dumps((values, lost)))
    if not names:
        raise DatasetError(f"{source}: nothing in it is labelled.")
    return LabelStudio([SourceCategory(name, True) for name in sorted(names)], images, results, source)


@dataclass(frozen=True)
class LabelStudio:
    """A data set of this format; see `Source`.

    Attributes:
        results: of each image, as JSON: its shapes by their id, and what cannot be used.
        path: of the file.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    results: list[str]
    path: Path

    def read(self, index: int) -> ImageLabels:
        """The shapes of one image."""
        where = f"{self.path}: task {index + 1}"
        values, lost = json.loads(self.results[index])
        sizes = {
            size_field(value, "original_height", "original_width", f"{where}: result {name}")
            for name, value in values.items()
        }
        if len(sizes) > 1:
            raise DatasetError(f"{where}: its shapes are made for images of several sizes: {sorted(sizes)}.")
        height, width = sizes.pop() if sizes else check_image(self.images[index].path)
        check_area(height, width, where)
        labels = ImageLabels(height, width, lost=lost)
        for name, value in values.items():
            _add(labels, value, f"{where}: result {name}", f"result {name}")
        return labels


def _result(annotations: list[object], where: str) -> tuple[_Values, list[str]]:
    """The shapes of the first annotation that was not cancelled."""
    done = [each for each in annotations if not typed(each, dict, f"{where}: an annotation").get("was_cancelled")]
    if not done:
        return {}, ["nobody annotated it: the image is void"]
    lost = [f"{len(done) - 1} more annotations of the same image"] if len(done) > 1 else []
    values: _Values = {}
    pictures: set[str] = set()
    for position, row in enumerate(field(done[0], "result", list, where)):
        place = f"{where}: result {position + 1}"
        if "value" not in typed(row, dict, place):
            continue  # a relation
        if row.get("image_rotation"):
            raise DatasetError(f"{place}: the image was turned while it was labelled. Turn the file itself instead.")
        if _is_shape(field(row, "value", dict, place)):
            pictures.add(field(row, "to_name", str, place, ""))
        sides = {key: row.get(key) for key in ("original_height", "original_width")}
        # The shape and its label may be two rows of one id.
        values.setdefault(str(row.get("id", position + 1)), {}).update(field(row, "value", dict, place) | sides)
    if len(pictures) > 1:
        raise DatasetError(
            f"{where}: its shapes belong to several images ({', '.join(sorted(pictures))}), but a task has one here. "
            "Label each image in a task of its own."
        )
    return {name: value for name, value in values.items() if _is_shape(value)}, lost


def _is_shape(value: dict[str, object]) -> bool:
    return any(key in value for key in _GEOMETRY)  # others are choices and texts


def _labels(value: dict[str, object], where: str) -> list[str]:
    found = (field(value, key, list, where) for key in _LABELS if value.get(key) is not None)
    return [typed(label, str, f"{where}: a label") for label in next(found, [])]


def _add(labels: ImageLabels, value: dict[str, object], where: str, what: str) -> None:
    names = _labels(value, where)
    if not names:
        labels.lost.append(f"{what}: has no label")
        return
    what = f"{what} ({names[0]!r})"
    if len(names) > 1:
        labels.lost.append(f"{what}: its other labels, {', '.join(names[1:])}")
    if "rle" in value:
        mask = decode_brush(field(value, "rle", list, where), labels.height, labels.width, where)
        labels.add(region_from_mask(names[0], mask), what)
    elif "imageDataURL" in value:
        packed = field(value, "imageDataURL", str, where).rpartition(",")[2]
        add_placed(labels, names[0], mask_of_png(bytes_of_base64(packed, where), where), 0, 0, what)
    elif "points" in value:
        percent = points_of(value["points"], f"{where}: points")
        sides = (labels.width, labels.height) * (len(percent) // 2)
        add_polygons(labels, names[0], [[each * side / 100 for each, side in zip(percent, sides, strict=True)]], what)
    elif "radiusX" in value:
        x, y, radius_x, radius_y = (field(value, key, float, where) / 100 for key in ("x", "y", "radiusX", "radiusY"))
        width, height = labels.width, labels.height
        turn = field(value, "rotation", float, where, 0.0)
        add_ellipse(labels, names[0], x * width, y * height, radius_x * width, radius_y * height, what, turn)
    else:
        labels.lost.append(f"{what}: a box, a point or a line, which is no mask")


def decode_brush(code: Sequence[object], height: int, width: int, where: str) -> Mask:
    """A brush stroke: where the last channel of an RGBA image, packed as of `unpack_words`, is not 0.

    Raises:
        DatasetError: as `unpack_words`, or a size that no image has.
    """
    check_area(height, width, where)
    values = unpack_words(code, height * width * _CHANNELS, where)
    return values.reshape(height, width, _CHANNELS)[..., -1] > 0


def unpack_words(code: Sequence[object], count: int, where: str) -> npt.NDArray[np.uint8]:
    """Bytes that thi.ng's rle-pack wrote.

    The code is one of bits, the highest first: 32 with the number of words, 5 with their size less 1, four times 4 with
    the sizes of lengths less 1. Then runs: 1 bit that says whether one word is repeated (1) or each word is there (0),
    2 bits that choose the size of the length, the length less 1, and the word or words.

    Args:
        code: its bytes as numbers.
        count: of the words that must be in it.
        where: file and place, for error messages.

    Raises:
        DatasetError: no such code, one that is cut off, or one of another number or size of words.
    """
    if not all(type(byte) is int and 0 <= byte <= 255 for byte in code):
        raise DatasetError(f"{where}: 'rle' must be a list of bytes, numbers in 0..255.")
    bits = _Bits(bytes(code), where)  # type: ignore[arg-type]
    found, size = bits.read(32), bits.read(5) + 1
    if (found, size) != (count, 8):
        raise DatasetError(f"{where}: 'rle' holds {found} words of {size} bits, but {count} of 8 were expected.")
    length_sizes = [bits.read(4) + 1 for _ in range(4)]
    words = np.zeros(count, np.uint8)
    start = 0
    while start < count:
        is_repeated = bits.read(1)
        end = start + bits.read(length_sizes[bits.read(2)]) + 1
        if end > count:
            raise DatasetError(f"{where}: 'rle' is damaged: its runs are longer than the image.")
        words[start:end] = bits.read(8) if is_repeated else bits.read_bytes(end - start)
        start = end
    return words


class _Bits:
    """Reads numbers out of bytes, bit by bit.

    Args:
        content: the bytes.
        where: file and place, for error messages.
    """

    def __init__(self, content: bytes, where: str):
        self._content = content
        self._where = where
        self._place = 0

    def read(self, size: int) -> int:
        """The next number of so many bits."""
        start, end = self._advance(size)
        part = int.from_bytes(self._content[start // 8 : (end + 7) // 8], "big")
        return part >> (-end % 8) & ((1 << size) - 1)

    def read_bytes(self, count: int) -> npt.NDArray[np.uint8]:
        """The next numbers of 8 bits."""
        start, end = self._advance(8 * count)
        bits = np.unpackbits(np.frombuffer(self._content[start // 8 : (end + 7) // 8], np.uint8))
        return np.packbits(bits[start % 8 : start % 8 + 8 * count])

    def _advance(self, size: int) -> tuple[int, int]:
        start, self._place = self._place, self._place + size
        if self._place > 8 * len(self._content):
            raise DatasetError(f"{self._where}: 'rle' is cut off.")
        return start, self._place


def _image_of(data: dict[str, object], where: str) -> str:
    """The address of a task's image."""
    texts = [value for value in data.values() if isinstance(value, str)]
    if "image" in data or len(texts) != 1:
        return field(data, "image", str, f"{where}: data")
    return texts[0]


def _find(address: str, folders: Sequence[Path], where: str) -> SourceImage:
    """The image that an address means: by as much of its path as there is below a folder, or its name before upload."""
    parts = urlsplit(address)
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].replace("\\", "/").strip("/")
    steps = check_file_name(path, where).split("/")
    names = ["/".join(steps[first:]) for first in range(len(steps))]
    if _UPLOADED.match(steps[-1]):
        names.append(steps[-1][9:])
    for name in names:
        for folder in folders:
            if name and (folder / name).is_file():
                return SourceImage(folder / name, name)
    looked = ", ".join(map(str, folders))
    raise DatasetError(
        f"{where}: the image {names[-1]} is not in {looked}. Say where the images are with --images DIR."
    )
