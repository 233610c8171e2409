"""What the images of a split hold, all together: flat arrays, so that a hundred thousand images fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.left_out import BadSample
from panoptic_blend.processes import in_processes
from panoptic_blend.report.fingerprints import BITS, Fingerprints
from panoptic_blend.report.measuring import ImageFacts, SplitFiles, measure_image


@dataclass(frozen=True)
class Segments:
    """Segments of the images that hold together, a row each.

    Attributes:
        image: position of the image in its split.
        id: in the id map.
        category: position of the category.
        area: pixels.
        gap: between the parts of a thing, in diagonals of the picture.
        crowd: it is one.
    """

    image: npt.NDArray[np.int32]
    id: npt.NDArray[np.int32]
    category: npt.NDArray[np.int32]
    area: npt.NDArray[np.int64]
    gap: npt.NDArray[np.float32]
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SplitFacts:
    """A split, measured.

    Attributes:
        name: of the split.
        files: where it lies.
        annotations: its images and their segments.
        bad_rows: images that are not among them, since their rows do not hold together.
        faults: by position of the image, why training would not take it.
        segments: of all others.
        pixels: [images] of each image.
        void: [images] share of the pixels that no segment has.
        fingerprints: [images, 32].
        usual_share: [categories] log2 of the median share of the picture that a segment has; nan without any.
    """

    name: str
    files: SplitFiles
    annotations: PanopticAnnotations
    bad_rows: Sequence[BadSample]
    faults: dict[int, str]
    segments: Segments
    pixels: npt.NDArray[np.int64]
    void: npt.NDArray[np.float64]
    fingerprints: Fingerprints
    usual_share: npt.NDArray[np.float64]

    @property
    def categories(self) -> Categories:
        """Of its annotations."""
        return self.annotations.categories

    def file_name(self, image: int) -> str:
        """Of an image."""
        return self.annotations[image].file_name


def measure_split(
    name: str, files: SplitFiles, annotations: PanopticAnnotations, workers: int, progress: Callable[[], None]
) -> SplitFacts:
    """Read every image and id map of a split once.

    Args:
        annotations: of `files`, loaded with `on_bad_sample="skip"`.
        workers: processes.
        progress: called after every image.

    Raises:
        ResourceError: a process was ended from outside.
    """
    columns: list[list[npt.NDArray[np.generic]]] = [[], [], [], [], [], []]
    faults: dict[int, str] = {}
    void, fingerprints, pixels = np.zeros(len(annotations)), [], np.zeros(len(annotations), np.int64)
    measured = in_processes(partial(_measure, annotations, files), range(len(annotations)), workers, at_once=16)
    for position, facts in enumerate(measured):
        record = annotations[position]
        if facts.fault:
            faults[position] = facts.fault
        void[position], pixels[position] = facts.void, record.width * record.height
        fingerprints.append(facts.fingerprint)
        for column, values in zip(columns, _rows(position, record, facts, annotations.categories), strict=True):
            column.append(values)
        progress()
    kinds = (np.int32, np.int32, np.int32, np.int64, np.float32, np.bool_)
    joined = [np.concatenate([np.zeros(0, kind), *column]) for column, kind in zip(columns, kinds, strict=True)]
    segments = Segments(*(column.astype(kind) for column, kind in zip(joined, kinds, strict=True)))
    return SplitFacts(
        name,
        files,
        annotations,
        annotations.left_out,
        faults,
        segments,
        pixels,
        void,
        np.array(fingerprints, np.uint8).reshape(len(annotations), BITS // 8),
        _usual_shares(segments, pixels, len(annotations.categories)),
    )


def _rows(
    position: int, record: ImageRecord, facts: ImageFacts, categories: Categories
) -> list[npt.NDArray[np.generic]]:
    segments = record.segments if not facts.fault else []
    return [
        np.full(len(segments), position, np.int32),
        np.array([segment.id for segment in segments], np.int32),
        np.array([categories.position(segment.category_id) for segment in segments], np.int32),
        facts.areas,
        facts.gaps.astype(np.float32),
        np.array([segment.is_crowd for segment in segments], np.bool_),
    ]


def _measure(annotations: PanopticAnnotations, files: SplitFiles, position: int) -> ImageFacts:
    return measure_image(annotations[position], files, annotations.categories)


def _usual_shares(segments: Segments, pixels: npt.NDArray[np.int64], categories: int) -> npt.NDArray[np.float64]:
    share = np.log2(np.maximum(segments.area, 1) / np.maximum(pixels[segments.image], 1))
    usual = np.full(categories, np.nan)
    for category in range(categories):
        rows = (segments.category == category) & ~segments.crowd
        if rows.any():
            usual[category] = np.median(share[rows])
    return usual
