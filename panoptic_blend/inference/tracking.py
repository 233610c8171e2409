"""Ids that stay with objects from frame to frame of a film: masks are moved on, overlapped, and assigned.

In the manner of SORT (Bewley et al., Simple Online and Realtime Tracking, 2016), with masks in place of boxes: what a
thing looks like is not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from panoptic_blend.categories import Categories
from panoptic_blend.coco.counting import contiguous_labels, label_boxes
from panoptic_blend.structures import IdMap, PanopticMap, Segment

MEMORY = 30
"""Frames for which a thing that is out of sight is looked for."""
MIN_IOU = 0.2
"""Of a mask and the one it is taken to have been, moved on; as things move, this is far below 1."""

Pair = npt.NDArray[np.float64]
"""(y, x) in pixels."""


@dataclass(frozen=True, eq=False)
class _Mask:
    """Where a thing is: bool [h, w] at (y, x) of its upper left corner."""

    inside: npt.NDArray[np.bool_]
    corner: tuple[int, int]

    @property
    def center(self) -> Pair:
        rows, columns = np.nonzero(self.inside)
        return np.array([rows.mean(), columns.mean()]) + self.corner

    def iou(self, other: _Mask, shift: Pair) -> float:
        """With another mask, after this one was moved by so many pixels."""
        ours = np.round(shift).astype(int) + self.corner
        first = np.maximum(ours, other.corner)
        last = np.minimum(ours + self.inside.shape, np.add(other.corner, other.inside.shape))
        if (first >= last).any():
            return 0.0
        both = [
            mask[tuple(slice(*ends) for ends in zip(first - corner, last - corner, strict=True))]
            for mask, corner in ((self.inside, ours), (other.inside, other.corner))
        ]
        common = int((both[0] & both[1]).sum())
        return common / (int(self.inside.sum()) + int(other.inside.sum()) - common)


@dataclass(frozen=True, eq=False)
class _Track:
    """A thing as it was seen last: in which frame, where, and how it moved, in pixels a frame."""

    category_id: int
    seen: int
    mask: _Mask
    velocity: Pair | None


class Tracker:
    """Gives the segments of one frame after the other ids that stay.

    A stuff category has one id, its place in the list of categories. A thing goes on with the id of the thing of its
    category whose mask, moved on as it moved last, has the largest IoU with it, all pairs of a frame taken together
    (Hungarian method). Things that are not found again get new ids. One that is out of sight is looked for during
    `memory` frames, and is another one after that.

    Args:
        categories: of the segments.
        memory: frames.
        min_iou: at which two masks may be one thing, in (0, 1].
    """

    def __init__(self, categories: Categories, memory: int = MEMORY, min_iou: float = MIN_IOU):
        self.categories = categories
        self.memory = memory
        self.min_iou = min_iou
        self._frame = 0
        self._tracks: dict[int, _Track] = {}
        self._next = len(categories) + 1

    def update(self, found: PanopticMap) -> PanopticMap:
        """The next frame's map with ids that stay; the maps given are left as they are."""
        masks = _thing_masks(found.id_map, found.segments)
        ids = self._assign(masks, found.segments)
        for segment in found.segments:
            if not segment.is_thing:
                ids[segment.id] = self.categories.position(segment.category_id) + 1
            elif segment.id not in ids:
                ids[segment.id] = self._next
                self._next += 1
        listed, labels = contiguous_labels(found.id_map)
        id_map = np.array([ids.get(i, 0) for i in listed.tolist()], np.int32)[labels]
        segments: dict[int, Segment] = {}
        for segment in found.segments:
            new = replace(segment, id=ids[segment.id])
            before = segments.get(new.id)  # of stuff, pieces that were apart
            segments[new.id] = replace(new, area=new.area + before.area) if before else new
        result = PanopticMap(id_map, list(segments.values()))
        self.remember(result.id_map, result.segments)
        return result

    def reserve(self, ids: Iterable[int]) -> None:
        """Give none of these ids to what is new: frames that come later have them from an earlier run."""
        self._next = max([self._next, *(i + 1 for i in ids)])

    def remember(self, id_map: IdMap, segments: Sequence[Segment]) -> None:
        """Take over a frame whose ids are given, as those of an earlier run; `update` calls this, too."""
        self._frame += 1
        masks = _thing_masks(id_map, segments)
        for segment in segments:
            if segment.is_thing:
                track = _Track(segment.category_id, self._frame, masks[segment.id], None)
                before = self._tracks.get(segment.id)
                self._tracks[segment.id] = replace(track, velocity=_velocity(before, track)) if before else track
                self._next = max(self._next, segment.id + 1)
        self._tracks = {i: track for i, track in self._tracks.items() if self._frame - track.seen <= self.memory}

    def _assign(self, masks: dict[int, _Mask], segments: Sequence[Segment]) -> dict[int, int]:
        """{id in the frame: id of its track} of the things that were seen before."""
        tracks, found = defaultdict(list), defaultdict(list)
        for i, track in self._tracks.items():
            tracks[track.category_id].append(i)
        for segment in segments:
            if segment.is_thing:
                found[segment.category_id].append(segment.id)
        ids: dict[int, int] = {}
        for category, here in found.items():
            there = tracks[category]
            iou = np.array([[self._iou(self._tracks[i], masks[j]) for j in here] for i in there]).reshape(-1, len(here))
            for row, column in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
                if iou[row, column] >= self.min_iou:
                    ids[here[column]] = there[row]
        return ids

    def _iou(self, track: _Track, mask: _Mask) -> float:
        """The larger one of a thing that moves on and one that stays: velocities are rough where masks are cut."""
        still = track.mask.iou(mask, np.zeros(2))
        if track.velocity is None:
            return still
        return max(still, track.mask.iou(mask, track.velocity * (self._frame + 1 - track.seen)))


def _velocity(before: _Track, now: _Track) -> Pair:
    latest = (now.mask.center - before.mask.center) / (now.seen - before.seen)
    return latest if before.velocity is None else (before.velocity + latest) / 2


def _thing_masks(id_map: IdMap, segments: Sequence[Segment]) -> dict[int, _Mask]:
    ids, labels = contiguous_labels(id_map)
    place = {segment_id: label for label, segment_id in enumerate(ids.tolist())}
    boxes = label_boxes(labels).tolist()
    masks = {}
    for segment in segments:
        if segment.is_thing:
            label = place[segment.id]
            x, y, width, height = (int(side) for side in boxes[label])
            masks[segment.id] = _Mask(labels[y : y + height, x : x + width] == label, (y, x))
    return masks
