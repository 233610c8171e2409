"""What one image of a data set holds: measured once, in any process, and small enough to keep for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.coco.samples import read_sample
from panoptic_blend.errors import DatasetError
from panoptic_blend.report.fingerprints import BITS, Fingerprints, fingerprint
from panoptic_blend.structures import IdMap

_CELLS_ACROSS = 120
"""Parts are looked for on about so many rows or columns."""
_LEAST_PART = 0.1
"""Share of its segment that a part has at least; smaller ones are slips of the pen."""
_ANY_NEIGHBOUR = np.ones((3, 3), bool)


@dataclass(frozen=True)
class SplitFiles:
    """Where the files of a split lie.

    Attributes:
        annotations: the JSON.
        images, segments: folders of the images and of the id-map PNGs.
    """

    annotations: Path
    images: Path
    segments: Path


@dataclass(frozen=True)
class ImageFacts:
    """What one image holds.

    Attributes:
        fault: why training would not take it; "" when it would.
        areas: int64 [segments] pixels, in the order of the record's segments; empty with a fault.
        gaps: float [segments] how far the parts of a thing lie apart, as a share of the image's diagonal.
        void: share of the pixels that no segment has.
        fingerprint: [32] of the picture; zeros with a fault.
    """

    fault: str
    areas: npt.NDArray[np.int64]
    gaps: npt.NDArray[np.float64]
    void: float
    fingerprint: Fingerprints


def measure_image(record: ImageRecord, files: SplitFiles, categories: Categories) -> ImageFacts:
    """Check a sample as training does, and measure it."""
    try:
        sample = read_sample(record, files.images, files.segments, categories, files.annotations)
    except DatasetError as error:
        nothing = np.zeros(0)
        return ImageFacts(str(error), nothing.astype(np.int64), nothing, 0.0, np.zeros(BITS // 8, np.uint8))
    single = [not segment.is_crowd and categories.by_id(segment.category_id).is_thing for segment in record.segments]
    return ImageFacts(
        fault="",
        areas=np.array([sample.pixels[segment.id] for segment in record.segments], np.int64),
        gaps=_gaps(sample.id_map, [s.id if one else 0 for s, one in zip(record.segments, single, strict=True)]),
        void=sample.pixels.get(0, 0) / sample.id_map.size,
        fingerprint=fingerprint(sample.thumbnail),
    )


def _gaps(id_map: IdMap, wanted: list[int]) -> npt.NDArray[np.float64]:
    """For each wanted id, the widest gap between its largest part and another, in diagonals of the image; of 0, 0."""
    step = max(1, min(id_map.shape) // _CELLS_ACROSS)
    ids, coarse = contiguous_labels(np.ascontiguousarray(id_map[::step, ::step]))
    boxes = dict(zip(ids.tolist(), ndimage.find_objects(coarse + 1), strict=True))
    places = {segment_id: place for place, segment_id in enumerate(boxes)}
    diagonal = float(np.hypot(*coarse.shape))
    return np.array(
        [
            widest_gap(coarse[boxes[i]] == places[i]) / diagonal if i and i in boxes else 0.0  # some fall between cells
            for i in wanted
        ]
    )


def widest_gap(mask: npt.NDArray[np.bool_]) -> float:
    """Pixels between the boxes of the largest 8-connected part of a mask [H, W] and the farthest other part."""
    parts: IdMap
    parts, number = ndimage.label(mask, _ANY_NEIGHBOUR)
    if number < 2:
        return 0.0
    areas = np.bincount(parts.ravel())[1:]
    boxes = ndimage.find_objects(parts)
    largest = int(areas.argmax())
    others = [box for box, area in zip(boxes, areas, strict=True) if area >= _LEAST_PART * areas.sum()]
    return max((_gap(boxes[largest], box) for box in others), default=0.0)


def _gap(one: tuple[slice, slice], other: tuple[slice, slice]) -> float:
    between = [max(0, max(a.start, b.start) - min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)]
    return float(np.hypot(*between))
