"""What writing COCO panoptic data in another format needs: one image at a time, then what all images share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord, SegmentRecord
from panoptic_blend.structures import IdMap

Row = dict[str, object]


@dataclass(frozen=True)
class Scene:
    """One image with its segments.

    Attributes:
        record: of the image; its segments are those of the map.
        id_map: [H, W], 0 = void.
        categories: of the segments.
    """

    record: ImageRecord
    id_map: IdMap
    categories: Categories

    @property
    def segments(self) -> list[SegmentRecord]:
        """By id, which is the order that all formats keep."""
        return sorted(self.record.segments, key=lambda segment: segment.id)

    def category_name(self, segment: SegmentRecord) -> str:
        """Name of a segment's category."""
        return self.categories.by_id(segment.category_id).name


@dataclass(frozen=True)
class Written:
    """What is known of an image that was written.

    Attributes:
        rows: for the file of all images, where the format has one.
        lost: what the format cannot say, a phrase each.
    """

    rows: Sequence[Row] = ()
    lost: Sequence[str] = ()


class Target(Protocol):
    """Writes some format. It must be picklable: images are written in several processes."""

    @property
    def keeps_scores(self) -> bool:
        """Whether the format has a place for the scores of predictions."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences about what becomes of stuff, and how the result is read again."""

    def image_path(self, name: str) -> str:
        """Where an image goes, relative to the result."""

    def labels_path(self, name: str) -> str:
        """Where the labels of an image go, relative to the result; "" where they have no file of their own."""

    def write(self, scene: Scene, root: Path) -> Written:
        """Write the labels of one image."""

    def finish(self, root: Path, images: Sequence[ImageRecord], written: Iterable[Written]) -> None:
        """Write what all images share. Every image is written when `written`, in their order, is at its end."""
