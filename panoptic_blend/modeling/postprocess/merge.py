"""Instances and stuff become one panoptic map (Panoptic Segmentation, sec. 6; Panoptic FPN, sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from panoptic_blend.categories import THING, Categories
from panoptic_blend.pasting import FOREGROUND, paste_mask
from panoptic_blend.structures import IdMap, Instances, Segment


@dataclass(frozen=True)
class Placement:
    """What became of one instance.

    Attributes:
        index: its row among the instances.
        segment_id: its id in the map; 0 when it was left out.
        area: pixels of its mask.
        free_area: those that no better instance had taken.
    """

    index: int
    segment_id: int
    area: int
    free_area: int


def place_instances(instances: Instances, min_score: float, max_overlap: float) -> tuple[Tensor, list[Placement]]:
    """Paint instances by falling score where nothing is yet.

    Args:
        instances: detections in the pixels of the output.
        min_score: instances below are not looked at.
        max_overlap: an instance is left out when more than this share of it is already taken.

    Returns:
        int32 id map [H, W] with ids 1, 2, ... in painting order (0 = free), and what became of every instance that
        reaches `min_score`.
    """
    id_map = torch.zeros(instances.size, dtype=torch.int32)
    placements: list[Placement] = []
    patches, boxes = instances.mask_patches.float().cpu(), instances.boxes.float().cpu()
    scores = instances.scores.tolist()
    next_id = 1
    for index in torch.argsort(instances.scores, descending=True, stable=True).tolist():
        if scores[index] < min_score:
            break
        region, values = paste_mask(patches[index], boxes[index], instances.size)
        mask = values >= FOREGROUND
        window = id_map[region]
        free = mask & (window == 0)
        area, free_area = int(mask.sum()), int(free.sum())
        if free_area == 0 or (area - free_area) / area > max_overlap:
            placements.append(Placement(index, 0, area, free_area))
            continue
        window[free] = next_id
        placements.append(Placement(index, next_id, area, free_area))
        next_id += 1
    return id_map, placements


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
        semantic: [H, W] label map of the same size; 0 = a thing, 1..S = stuff.
        categories: turns labels into category ids.
        min_score: instances below are left out.
        max_overlap: an instance is left out when more than this share of it is already taken.
        min_stuff_area: stuff with fewer free pixels than this becomes void.

    Returns:
        int32 id map [H, W] with ids 1, 2, ... in painting order (0 = void), and its segments.
    """
    id_map, placements = place_instances(instances, min_score, max_overlap)
    scores, labels = instances.scores.tolist(), instances.labels.tolist()
    segments = [
        Segment(each.segment_id, categories.things[labels[each.index]].id, True, scores[each.index], each.free_area)
        for each in placements
        if each.segment_id
    ]

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
