"""Instances and stuff become one panoptic map (Panoptic Segmentation, sec. 6; Panoptic FPN, sec. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from panoptic_blend.categories import THING, Categories
from panoptic_blend.pasting import paste_mask
from panoptic_blend.structures import IdMap, Instances, Segment


def merge(
    instances: Instances,
    semantic: Tensor,
    categories: Categories,
    min_score: float = 0.45,
    max_overlap: float = 0.4,
    min_stuff_area: int = 4096,
) -> tuple[IdMap, list[Segment]]:
    """Paint instances by falling score where nothing is yet, then stuff where no instance is.

    Args:
        instances: detections in the pixels of the output.
        semantic: [H, W] uint8 label map of the same size; 0 = a thing, 1..S = stuff.
        categories: turns labels into category ids.
        min_score: instances below are left out.
        max_overlap: an instance is left out when more than this share of it is already taken.
        min_stuff_area: stuff with fewer free pixels than this becomes void.

    Returns:
        int32 id map [H, W] with ids 1, 2, ... in painting order (0 = void), and its segments.
    """
    id_map = torch.zeros(semantic.shape, dtype=torch.int32)
    segments: list[Segment] = []

    patches, boxes = instances.mask_patches.float().cpu(), instances.boxes.float().cpu()
    scores, labels = instances.scores.tolist(), instances.labels.tolist()
    for index in torch.argsort(instances.scores, descending=True, stable=True).tolist():
        if scores[index] < min_score:
            break
        region, values = paste_mask(patches[index], boxes[index], instances.size)
        mask = values >= 0.5
        window = id_map[region]
        free = mask & (window == 0)
        area, free_area = int(mask.sum()), int(free.sum())
        if area == 0 or free_area == 0 or (area - free_area) / area > max_overlap:
            continue
        segment_id = len(segments) + 1
        window[free] = segment_id
        category = categories.things[labels[index]]
        segments.append(Segment(segment_id, category.id, True, scores[index], free_area))

    free = id_map == 0
    stuff = semantic.cpu().to(torch.int64)
    areas = torch.bincount(stuff[free], minlength=len(categories.stuff) + 1).tolist()
    ids = torch.zeros(len(areas), dtype=torch.int32)
    for label, area in enumerate(areas):
        if label != THING and area > 0 and area >= min_stuff_area:
            ids[label] = len(segments) + 1
            segments.append(Segment(len(segments) + 1, categories.stuff[label - 1].id, False, 1.0, area))
    id_map = torch.where(free, ids[stuff], id_map)
    return id_map.numpy(), segments
