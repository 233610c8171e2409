"""Images and segments as a few flat arrays.

A hundred thousand images own a million segments. As Python objects they would cost gigabytes, and every forked
loader process would copy them page by page as reference counts change; arrays and byte strings are small and stay
shared.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Texts(Sequence[str]):
    """A list of texts in one array of bytes.

    Attributes:
        characters: uint8, the texts in UTF-8, one after the other.
        ends: int64 [N], where each of them ends.
    """

    characters: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # an int from 0 on: nobody needs slices
        start = self.ends[index - 1] if index > 0 else 0
        return self.characters[start : self.ends[index]].tobytes().decode()


class TextsBuilder(Sequence[str]):
    """Grows `Texts` one by one, without a Python object for each."""

    def __init__(self, texts: Iterable[str] = ()):
        self._characters, self._ends = bytearray(), array("q")
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._characters += text.encode()
        self._ends.append(len(self._characters))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # an int from 0 on: nobody needs slices
        start = self._ends[index - 1] if index > 0 else 0
        return self._characters[start : self._ends[index]].decode()

    def build(self) -> Texts:
        """The finished texts, of the same memory; nothing can be added any more."""
        return Texts(np.frombuffer(self._characters, np.uint8), np.frombuffer(self._ends, np.int64))


@dataclass(frozen=True)
class SegmentTable:
    """Segments of all images, those of one image in a row.

    Attributes:
        first, count: [images] where an image's segments start and how many there are.
        ids, categories, crowds, areas, boxes: [segments] segment id, position of its category in the data set's
            list, iscrowd, pixels (-1 where the file does not say), XYWH box ([segments, 4], zeros where not said).
        scores: [segments] of predictions, NaN where the file does not say.
    """

    first: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int32]
    categories: npt.NDArray[np.int32]
    crowds: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]

    def of_image(self, image: int) -> slice:
        """Where an image's segments are."""
        return slice(int(self.first[image]), int(self.first[image] + self.count[image]))


Part = TypeVar("Part", Texts, SegmentTable)


_PARTS = ("image_ids", "file_names", "segments_file_names", "segments", "video_ids")


@dataclass(frozen=True)
class Index:
    """All that a COCO panoptic JSON says of images and their segments.

    Attributes:
        image_ids: as JSON texts, since an id is a number or a text.
        file_names: of the images.
        segments_file_names: of the id-map PNGs; "" for an image without an annotation.
        sizes: int64 [2, images] width and height.
        segments: of all images.
        video_ids: as JSON texts; empty where no image is of a film.
        frame_ids: int64 [images], -1 for none; empty likewise.
    """

    image_ids: Texts
    file_names: Texts
    segments_file_names: Texts
    sizes: npt.NDArray[np.int64]
    segments: SegmentTable
    video_ids: Texts
    frame_ids: npt.NDArray[np.int64]

    def columns(self) -> dict[str, npt.NDArray]:
        """Every array by a name of its own."""
        parts = {name: getattr(self, name) for name in _PARTS}
        columns = {
            f"{name}.{field.name}": getattr(part, field.name) for name, part in parts.items() for field in fields(part)
        }
        return {"sizes": self.sizes, "frame_ids": self.frame_ids, **columns}

    @staticmethod
    def from_columns(columns: Mapping[str, npt.NDArray]) -> Index:
        """What `columns` returned as an index again; `KeyError` when one is missing."""

        def part(kind: type[Part], name: str) -> Part:
            return kind(**{field.name: columns[f"{name}.{field.name}"] for field in fields(kind)})

        return Index(
            image_ids=part(Texts, "image_ids"),
            file_names=part(Texts, "file_names"),
            segments_file_names=part(Texts, "segments_file_names"),
            sizes=columns["sizes"],
            segments=part(SegmentTable, "segments"),
            video_ids=part(Texts, "video_ids"),
            frame_ids=columns["frame_ids"],
        )

    def only(self, images: Sequence[int]) -> Index:
        """The rows of some images in arrays of their own, small enough to be sent to other processes."""
        chosen = np.asarray(images, np.int64)
        firsts, counts = self.segments.first[chosen], self.segments.count[chosen]
        starts = np.cumsum(counts) - counts
        rows = np.repeat(firsts - starts, counts) + np.arange(counts.sum())
        columns = {field.name: getattr(self.segments, field.name)[rows] for field in fields(SegmentTable)[2:]}
        segments = SegmentTable(first=np.where(firsts < 0, -1, starts), count=counts, **columns)

        def texts(all_texts: Texts) -> Texts:
            return TextsBuilder(all_texts[image] for image in images).build() if len(all_texts) else all_texts

        return Index(
            image_ids=texts(self.image_ids),
            file_names=texts(self.file_names),
            segments_file_names=texts(self.segments_file_names),
            sizes=self.sizes[:, chosen],
            segments=segments,
            video_ids=texts(self.video_ids),
            frame_ids=self.frame_ids[chosen] if len(self.frame_ids) else self.frame_ids,
        )


class SegmentTableBuilder:
    """Grows a `SegmentTable` row by row without a Python object per value."""

    def __init__(self, images: int):
        self.first = np.full(images, -1, np.int64)
        self.count = np.zeros(images, np.int64)
        self.ids, self.categories, self.crowds = array("i"), array("i"), array("b")
        self.areas, self.boxes, self.scores = array("q"), array("f"), array("f")

    def cut(self, segments: int) -> None:
        """Keep so many segments and forget those after them, the last of which may be half written."""
        for column in (self.ids, self.categories, self.crowds, self.areas, self.scores):
            del column[segments:]
        del self.boxes[4 * segments :]

    def build(self) -> SegmentTable:
        """The finished table, of the same memory; nothing can be added any more."""
        return SegmentTable(
            first=self.first,
            count=self.count,
            ids=np.frombuffer(self.ids, np.int32),
            categories=np.frombuffer(self.categories, np.int32),
            crowds=np.frombuffer(self.crowds, np.bool_),
            areas=np.frombuffer(self.areas, np.int64),
            boxes=np.frombuffer(self.boxes, np.float32).reshape(-1, 4),
            scores=np.frombuffer(self.scores, np.float32),
        )
