"""Detections of the network's input as instances of the output."""

from __future__ import annotations

from torch import Tensor

from panoptic_blend.modeling.postprocess.decoding import Detections
from panoptic_blend.structures import Instances


def place_in_output(
    detections: Detections, mask_logits: Tensor, image_size: tuple[int, int], size: tuple[int, int]
) -> Instances:
    """Detections and their mask logits [N, R, R] as instances of an output; boxes left without area are dropped.

    Args:
        image_size: (height, width) of the image the network saw, without padding.
        size: (height, width) of the output.
    """
    boxes, keep = resize_boxes(detections.boxes, image_size, size)
    return Instances(boxes[keep], detections.scores[keep], detections.labels[keep], mask_logits.sigmoid()[keep], size)


def resize_boxes(boxes: Tensor, image_size: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes [N, 4] of an image in the pixels of an output of `size`, cut to it, and [N] which of them have an area."""
    scale = (size[1] / image_size[1], size[0] / image_size[0])
    boxes = boxes * boxes.new_tensor(scale * 2)
    boxes = boxes.clamp(min=boxes.new_zeros(4), max=boxes.new_tensor([size[1], size[0]] * 2))
    return boxes, (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
