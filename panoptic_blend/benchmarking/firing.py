"""Random weights that detect as much as trained ones, so that what follows the network has its work to do."""

from __future__ import annotations

import torch
from torch import Tensor

from panoptic_blend.modeling.modes import evaluating
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

HALF_BOX = 4.0
"""Distance from a cell to the sides of its box, in strides."""
CERTAIN, UNCERTAIN = 2.0, -0.8
"""Logits of the strongest and the weakest wanted candidate; with `CENTRAL` both reach the merge's usual score."""
CENTRAL = 3.0


@torch.no_grad()
def fire_detections(model: PanopticBlend, image: Tensor, instances: int) -> None:
    """Adjust the last layers of a detector until an image has so many detections. In place.

    The class logits are stretched and shifted as a whole until the strongest cells are certain and enough boxes are
    left after suppression; centerness and distances get constant biases, for boxes of eight strides.

    Args:
        model: with a detector.
        image: uint8 RGB [3, H, W].
        instances: wanted; fewer are possible when the image is too small for them.
    """
    head = model.network.head
    assert head is not None
    for layer, bias in ((head.distances, HALF_BOX), (head.centerness, CENTRAL)):
        assert layer.bias is not None
        layer.bias.fill_(bias)
    with evaluating(model):
        output = model.network(model.input_rule([image]))
    model.settings.max_detections = instances
    class_logits = output.detector.class_logits
    strongest = torch.cat([level.flatten() for level in class_logits]).sort(descending=True).values
    candidates = min(2 * instances, len(strongest) - 1)
    while True:
        high, low = strongest[0], strongest[candidates]
        scale = (CERTAIN - UNCERTAIN) / (high - low).clamp(min=1e-6)
        fired = output.detector._replace(class_logits=[(level - high) * scale + CERTAIN for level in class_logits])
        found = len(model.postprocess.detect(output._replace(detector=fired), 0).scores)
        if found >= instances or candidates == len(strongest) - 1:
            break
        candidates = min(2 * candidates, len(strongest) - 1)
    assert head.class_logits.bias is not None
    head.class_logits.weight.mul_(scale)
    head.class_logits.bias.sub_(high).mul_(scale).add_(CERTAIN)
