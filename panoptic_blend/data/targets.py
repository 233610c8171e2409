"""Boxes, masks and semantic labels derived from one id map: the only ground truth there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from panoptic_blend.categories import IGNORE, Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.structures import IdMap, Targets


def derive_targets(id_map: IdMap, segments: Sequence[SegmentRecord], categories: Categories) -> Targets:
    """Derive every training target of one image from its (augmented) id map.

    Void, crowds and ids that `segments` does not list become ignore. A thing without a pixel left, say after a crop,
    is no instance.

    Args:
        id_map: int [H, W].
        segments: the image's segments, each id once.
        categories: of the data set.

    Returns:
        `Targets`; instances in ascending order of id.
    """
    indices, ordered = index_segments(id_map, segments)
    return targets_from_indices(indices, ordered, categories)


def index_segments(id_map: IdMap, segments: Sequence[SegmentRecord]) -> tuple[np.ndarray, list[SegmentRecord]]:
    """Renumber an id map by position in the sorted list of segments: small numbers are cheap to augment and to look up.

    Args:
        id_map: int [H, W].
        segments: each id once.

    Returns:
        indices: uint8 [H, W] (int32 beyond 255 segments); k means `ordered[k - 1]`, 0 void or unlisted.
        ordered: the segments by ascending id.
    """
    ordered = sorted(segments, key=lambda segment: segment.id)
    dtype = np.uint8 if len(ordered) <= 255 else np.int32
    if not ordered:
        return np.zeros(id_map.shape, dtype=dtype), ordered
    # A leading 0 maps void to rank 0. Long runs of one id make comparing neighbours cheaper than searching each pixel.
    ids = np.array([0, *(segment.id for segment in ordered)])
    flat = id_map.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    values = flat[starts]
    indices = np.minimum(np.searchsorted(ids, values), len(ordered))
    indices[ids[indices] != values] = 0
    return np.repeat(indices.astype(dtype), np.diff(starts, append=flat.size)).reshape(id_map.shape), ordered


def targets_from_indices(indices: np.ndarray, ordered: Sequence[SegmentRecord], categories: Categories) -> Targets:
    """As `derive_targets`, from what `index_segments` returns."""
    height, width = indices.shape
    semantic_of_rank = np.full(len(ordered) + 1, IGNORE, dtype=np.int64)
    for rank, segment in enumerate(ordered, start=1):
        if not segment.is_crowd:
            semantic_of_rank[rank] = categories.semantic_label(segment.category_id)

    found = ndimage.find_objects(indices, max_label=len(ordered)) if ordered else []
    instances = [
        (rank, segment, window)
        for rank, (segment, window) in enumerate(zip(ordered, found, strict=True), start=1)
        if window is not None and not segment.is_crowd and categories.by_id(segment.category_id).is_thing
    ]
    boxes = np.array([(x.start, y.start, x.stop, y.stop) for _, _, (y, x) in instances], dtype=np.float32)
    labels = [categories.thing_label(segment.category_id) for _, segment, _ in instances]
    instance_of_rank = np.zeros(len(ordered) + 1, dtype=indices.dtype)
    for number, (rank, _, _) in enumerate(instances, start=1):
        instance_of_rank[rank] = number
    # Twice as fast as numpy's look-up: it goes through every pixel of every training sample.
    ranks = torch.from_numpy(indices).int().flatten()
    return Targets(
        boxes=torch.from_numpy(boxes.reshape(-1, 4)),
        labels=torch.tensor(labels, dtype=torch.int64),
        instance_map=torch.from_numpy(instance_of_rank).index_select(0, ranks).view(1, height, width),
        semantic=torch.from_numpy(semantic_of_rank).index_select(0, ranks).view(height, width),
    )
