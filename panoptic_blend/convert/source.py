"""What every format gives to the conversion: categories, images, and labelled regions of one image at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from scipy import ndimage

from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.errors import DatasetError

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SourceCategory:
    """A category as its format knows it.

    Attributes:
        is_thing: what it is unless the person says otherwise (`--things`, `--stuff`).
        id: of the category in the result, where the format has one that people know; else they are numbered from 1.
        color: RGB, where the format has one.
    """

    name: str
    is_thing: bool
    id: int | None = None
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class SourceImage:
    """An image file.

    Attributes:
        path: where it lies.
        name: relative name it gets in the result.
        split: train, val, ... where the format tells; else "".
    """

    path: Path
    name: str
    split: str = ""


@dataclass(frozen=True)
class Region:
    """Pixels of one category.

    Attributes:
        category: its name.
        top, left: place of the mask in the image.
        mask: [h, w] bool, tight around its pixels.
        is_object: one object, as an annotator outlined it; False for the pixels of a category in a label map, which are
            split into connected parts where the category is a thing.
        is_crowd: several objects that nobody told apart.
    """

    category: str
    top: int
    left: int
    mask: Mask
    is_object: bool = True
    is_crowd: bool = False

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the mask covers."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass
class ImageLabels:
    """Everything labelled in one image.

    Attributes:
        height, width: pixels.
        regions: in the format's order.
        lost: what could not be used, a phrase each: "polygon 3 ('car'): lies outside the image".
        rest: name of the category of all pixels that no region covers; "" leaves them void.
    """

    height: int
    width: int
    regions: list[Region] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    rest: str = ""

    def add(self, region: Region | None, what: str) -> None:
        """Add a region, or note that nothing is left of it."""
        if region is None:
            self.lost.append(f"{what}: has no pixels in the image")
        else:
            self.regions.append(region)


class Source(Protocol):
    """A data set in some format. It must be picklable: images are read in several processes."""

    @property
    def categories(self) -> Sequence[SourceCategory]:
        """All it may have."""

    @property
    def images(self) -> Sequence[SourceImage]:
        """In the order of the result."""

    def read(self, index: int) -> ImageLabels:
        """The labels of one image; `DatasetError`, naming file and place, when they cannot be read."""


def region_from_mask(
    category: str, mask: Mask, is_object: bool = True, is_crowd: bool = False, top: int = 0, left: int = 0
) -> Region | None:
    """A region from a mask [h, w] whose corner lies at (top, left); None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    y, x = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Region(category, top + int(rows[0]), left + int(columns[0]), mask[y, x], is_object, is_crowd)


def region_from_polygons(
    category: str,
    polygons: Sequence[Sequence[float]],
    height: int,
    width: int,
    is_crowd: bool = False,
    is_object: bool = True,
) -> Region | None:
    """A region from the outlines of its parts, filled as COCO fills them.

    Args:
        polygons: x and y in turns, in pixels, three points or more each.
        height, width: of the image; what lies outside is cut off.

    Returns:
        The region; None when no pixel is inside.
    """
    # COCO rounds coordinates to fifths of a pixel. Done beforehand, they can be moved by whole pixels, so that only the
    # window around them is drawn.
    fifths = [cut_outline(np.trunc(np.reshape(each, (-1, 2)) * 5.0 + 0.5), 5 * height, 5 * width) for each in polygons]
    fifths = [each for each in fifths if len(each) >= 3]
    if not fifths:
        return None
    every = np.concatenate(fifths)
    limit = np.array([width, height])
    corner = np.clip(every.min(axis=0) // 5 - 1, 0, limit).astype(int)
    end = np.clip(every.max(axis=0) // 5 + 2, 0, limit).astype(int)
    if (end <= corner).any():
        return None
    moved = [each - 5 * corner for each in fifths]
    # Fifths below 0 are rounded towards it once more, hence the part less.
    points = [(np.where(each < 0, each - 0.75, each) / 5).ravel().tolist() for each in moved]
    columns, rows = (end - corner).tolist()
    mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(points, rows, columns))).astype(bool)
    return region_from_mask(category, mask, is_object, is_crowd, int(corner[1]), int(corner[0]))


def cut_outline(points: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Cut a polygon [N, 2] of whole numbers ten images away from the image, if it goes so far.

    Filling takes time and memory in proportion to the length of the outline.
    """
    for axis, side in ((0, width), (1, height)):
        for bound, sign in ((-10.0 * side, 1), (11.0 * side, -1)):
            inside = (points[:, axis] - bound) * sign >= 0
            if inside.all():
                continue
            kept = []
            for this, following, is_in, is_next_in in zip(
                points, np.roll(points, -1, axis=0), inside, np.roll(inside, -1), strict=True
            ):
                if is_in:
                    kept.append(this)
                if is_in != is_next_in:
                    share = (bound - this[axis]) / (following[axis] - this[axis])
                    kept.append(np.trunc(this + share * (following - this)))
            if not kept:
                return np.zeros((0, 2))
            points = np.array(kept)
    return points


def regions_of_label_map(labels: npt.NDArray[np.integer], names: Mapping[int, str], where: Path) -> list[Region]:
    """A region for every labelled category of a map.

    Args:
        labels: [H, W].
        names: category by value; "" is void.
        where: the file, for error messages.

    Raises:
        DatasetError: a value that nobody named.
    """
    return [
        Region(names[value], top, left, mask, is_object=False)
        for value, top, left, mask in _masks(labels)
        if _named(value, int(mask.sum()), names, where)
    ]


def regions_of_instance_map(
    labels: npt.NDArray[np.integer],
    instances: npt.NDArray[np.integer],
    names: Mapping[int, str],
    things: Collection[str],
    where: Path,
) -> list[Region]:
    """A region for every object, and one for the pixels of a category that belong to none.

    Args:
        labels: [H, W] values of categories.
        instances: [H, W] number of the object a pixel belongs to, counted apart for every label; 0 is none.
        names: category by label; "" is void.
        things: categories whose pixels outside all objects are a crowd.
        where: the file, for error messages.

    Raises:
        DatasetError: a label that nobody named.
    """
    regions = []
    for value, top, left, mask in _masks((labels.astype(np.int64) << 32) | instances.astype(np.int64)):
        label, instance = value >> 32, value & 0xFFFFFFFF
        if _named(label, int(mask.sum()), names, where):
            is_crowd = instance == 0 and names[label] in things
            regions.append(Region(names[label], top, left, mask, instance > 0 or is_crowd, is_crowd))
    return regions


def _masks(values: npt.NDArray[np.integer]) -> Iterator[tuple[int, int, int, Mask]]:
    """Every value of a map, ascending, with top, left and mask of its pixels."""
    found, positions = contiguous_labels(values)
    for position, (value, (y, x)) in enumerate(zip(found.tolist(), ndimage.find_objects(positions + 1), strict=True)):
        yield value, y.start, x.start, positions[y, x] == position


def _named(value: int, pixels: int, names: Mapping[int, str], where: Path) -> bool:
    """Whether a value is a category, not void."""
    if value not in names:
        raise DatasetError(
            f"{where}: {pixels} pixels have the value {value}, which nobody named. Name it, or declare it void."
        )
    return bool(names[value])
