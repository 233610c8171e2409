"""What flows between the rooms. Importable without torch: tensors appear in annotations only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IdMap = npt.NDArray[np.int32]
"""Segment id per pixel, [H, W]; 0 is void."""


@dataclass(kw_only=True)
class Targets:
    """Ground truth of one image, derived from its (augmented) id map.

    Attributes:
        boxes: [N, 4] float, absolute XYXY pixels, tight around the masks (x2 and y2 exclusive).
        labels: [N] int64, contiguous thing labels.
        instance_map: [D, H, W] uint8 or int32; n + 1 where instance n is, 0 where none is. The segments of a panoptic
            map do not overlap: there D is 1. Instances that do overlap lie on different layers.
        semantic: [H, W] int64; 0 = a thing, 1..S = stuff, -1 = ignore.
    """

    boxes: Tensor
    labels: Tensor
    instance_map: Tensor
    semantic: Tensor

    @staticmethod
    def from_masks(boxes: Tensor, labels: Tensor, masks: Tensor, semantic: Tensor) -> Targets:
        """Targets from one mask an instance, [N, H, W] bool, which may overlap."""
        from panoptic_blend.instance_map import layer_masks

        return Targets(boxes=boxes, labels=labels, instance_map=layer_masks(masks), semantic=semantic)

    @property
    def masks(self) -> Tensor:
        """[N, H, W] bool, rasterised at every call: N full images of memory, so ask only when needed."""
        from panoptic_blend.instance_map import rasterise

        return rasterise(self.instance_map, len(self.boxes))

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        return Targets(
            boxes=self.boxes.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            instance_map=self.instance_map.to(device, non_blocking=True),
            semantic=self.semantic.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Targets:
        """The same targets in page-locked memory (called by `DataLoader(pin_memory=True)`)."""
        return Targets(
            boxes=self.boxes.pin_memory(),
            labels=self.labels.pin_memory(),
            instance_map=self.instance_map.pin_memory(),
            semantic=self.semantic.pin_memory(),
        )


@dataclass
class Instances:
    """Detections of one image, best score first.

    Attributes:
        boxes: [N, 4] float, absolute XYXY pixels of an image of `size`.
        scores: [N] float in 0..1.
        labels: [N] int64, contiguous thing labels.
        mask_patches: [N, R, R] float, foreground probability inside each box.
        size: (height, width) of the image the boxes live in.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    mask_patches: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def masks(self) -> Tensor:
        """[N, H, W] bool, rasterised at every call: N full images of memory, so ask only when needed."""
        from panoptic_blend.pasting import paste_masks

        return paste_masks(self.mask_patches, self.boxes, self.size)


@dataclass(frozen=True)
class Segment:
    """One segment of a predicted panoptic map.

    Attributes:
        id: value of its pixels in the id map, > 0.
        category_id: dataset category id.
        area: pixels it owns in the id map.
        score: confidence of a thing; 1.0 for stuff.
    """

    id: int
    category_id: int
    is_thing: bool
    score: float
    area: int


@dataclass
class PanopticMap:
    """Where things and stuff are in one image.

    Attributes:
        id_map: int32 [H, W], 0 = void.
        segments: one entry per id in the map.
    """

    id_map: IdMap
    segments: list[Segment]


@dataclass
class PanopticPrediction(PanopticMap):
    """What the model says about one image, on the host: the map, and what it was merged from.

    Attributes:
        instances: every detection, merged or not.
        semantic: [H, W] label map of the semantic branch; 0 = a thing, 1..S = stuff; uint16 where S is above 254.
    """

    instances: Instances
    semantic: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
