"""What a data set is like, as numbers that settings are derived from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torchvision.ops import box_iou

from panoptic_blend.categories import THING, Categories
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.data.repeats import category_presence
from panoptic_blend.data.targets import derive_targets
from panoptic_blend.errors import DatasetError


@dataclass(frozen=True)
class Measurements:
    """Sizes of everything in a data set, in pixels of its images; crowds are left out.

    Attributes:
        categories: of the data set.
        sizes: [images, 2] height and width.
        things: [images] number of them.
        boxes: [all things, 4] XYXY, those of one image in a row.
        labels: [all things] thing labels.
        stuff_areas: [all stuff segments] pixels.
        present: [images, categories] whether a category is there, in the order of `categories`.
    """

    categories: Categories
    sizes: npt.NDArray[np.int64]
    things: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    stuff_areas: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]


def measure(
    annotations: PanopticAnnotations, segments_folder: Path, progress: Callable[[], None] = lambda: None
) -> Measurements:
    """Measure every image by its JSON; where that leaves out an area or a box, by its id map.

    Args:
        annotations: of the images.
        segments_folder: of the id maps.
        progress: called after every image.

    Raises:
        DatasetError: no images or no annotations, or an id map that is needed and cannot be read.
    """
    if not len(annotations) or not annotations.has_segments:
        raise DatasetError(f"{annotations.path}: nothing to measure. Give a panoptic JSON with annotated images.")
    sizes, things, boxes, labels, stuff_areas = [], [], [], [], []
    for record in annotations:
        in_json = all(segment.area >= 0 and any(segment.bbox) for segment in record.segments)
        of_image = _from_json if in_json else _from_id_map
        own_boxes, own_labels, own_areas = of_image(record, segments_folder, annotations)
        sizes.append((record.height, record.width))
        things.append(len(own_boxes))
        boxes += own_boxes
        labels += own_labels
        stuff_areas += own_areas
        progress()
    return Measurements(
        annotations.categories,
        np.array(sizes, np.int64),
        np.array(things, np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(stuff_areas, np.int64),
        category_presence(annotations),
    )


_Segments = tuple[list[Sequence[float]], list[int], list[int]]
"""Boxes and labels of the things of an image, areas of its stuff."""


def _from_json(record: ImageRecord, segments_folder: Path, annotations: PanopticAnnotations) -> _Segments:
    boxes: list[Sequence[float]] = []
    labels, areas = [], []
    for segment in record.segments:
        if segment.is_crowd:
            continue
        if annotations.categories.by_id(segment.category_id).is_thing:
            x, y, width, height = segment.bbox
            boxes.append((x, y, x + width, y + height))
            labels.append(annotations.categories.thing_label(segment.category_id))
        else:
            areas.append(segment.area)
    return boxes, labels, areas


def _from_id_map(record: ImageRecord, segments_folder: Path, annotations: PanopticAnnotations) -> _Segments:
    id_map = read_segments(record, segments_folder, annotations.categories, annotations.path)
    targets = derive_targets(id_map, record.segments, annotations.categories)
    semantic = targets.semantic.numpy()
    areas = np.bincount(semantic[semantic > THING], minlength=1)
    return targets.boxes.tolist(), targets.labels.tolist(), areas[areas > 0].tolist()


def relative_extents(measured: Measurements) -> npt.NDArray[np.float64]:
    """[all things] longest side of its box as a share of its image's shortest edge."""
    sides = measured.boxes[:, 2:] - measured.boxes[:, :2]
    return sides.max(axis=1) / measured.sizes.min(axis=1).repeat(measured.things)


def highest_overlaps(measured: Measurements) -> npt.NDArray[np.float64]:
    """[all things] highest IoU of its box with that of another thing of its image and category; 0 without any."""
    highest = np.zeros(len(measured.boxes))
    ends = measured.things.cumsum()
    for start, end in zip(ends - measured.things, ends, strict=True):
        boxes, labels = measured.boxes[start:end], measured.labels[start:end]
        if len(boxes) < 2:
            continue
        # Of two boxes without area the IoU is no number.
        overlaps = np.nan_to_num(box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).numpy())
        overlaps[labels[:, None] != labels] = 0
        np.fill_diagonal(overlaps, 0)
        highest[start:end] = overlaps.max(axis=1)
    return highest
