"""Which instance a pixel belongs to, as one map: what masks of N full images would say in the memory of one."""

from __future__ import annotations

import torch
from torch import Tensor


def layer_masks(masks: Tensor) -> Tensor:
    """Put masks side by side into one map; a mask that overlaps those of a layer goes to the next.

    Args:
        masks: [N, H, W] bool.

    Returns:
        [D, H, W] uint8 (int32 beyond 255 masks); n + 1 where mask n is, 0 where none is; D >= 1.
    """
    dtype = torch.uint8 if len(masks) <= 255 else torch.int32
    layers = [masks.new_zeros(masks.shape[1:], dtype=dtype)]
    for number, mask in enumerate(masks, start=1):
        layer = next((layer for layer in layers if not layer[mask].any()), None)
        if layer is None:
            layer = torch.zeros_like(layers[0])
            layers.append(layer)
        layer[mask] = number
    return torch.stack(layers)


def rasterise(instance_map: Tensor, count: int) -> Tensor:
    """The masks [N, H, W] bool of the first `count` instances of a map [D, H, W]."""
    masks = instance_map.new_zeros((count, *instance_map.shape[1:]), dtype=torch.bool)
    for index, mask in enumerate(masks):
        torch.any(instance_map == index + 1, dim=0, out=mask)
    return masks
