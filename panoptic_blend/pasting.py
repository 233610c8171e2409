"""From an R x R mask inside a box to pixels of the image."""

from __future__ import annotations

import torch
from torch import Tensor

Region = tuple[slice, slice]
"""Rows and columns of an image."""


def paste_mask(patch: Tensor, box: Tensor, size: tuple[int, int]) -> tuple[Region, Tensor]:
    """Resample one mask to the pixels around its box; the rest of the image is never touched.

    Bilinear sampling at pixel centres is separable, so it is two small matrix products.

    Args:
        patch: [R, R] float, values inside the box.
        box: [4] XYXY in the image's pixels, inside the image.
        size: (height, width) of the image.

    Returns:
        The region around the box and the values [h, w] there; everything outside is 0.
    """
    left, top, right, bottom = box.tolist()
    rows = slice(max(int(top) - 1, 0), min(int(bottom) + 2, size[0]))
    columns = slice(max(int(left) - 1, 0), min(int(right) + 2, size[1]))
    vertical = _interpolation(rows, top, bottom, patch)
    horizontal = _interpolation(columns, left, right, patch)
    return (rows, columns), vertical @ patch @ horizontal.T


def _interpolation(pixels: slice, start: float, stop: float, patch: Tensor) -> Tensor:
    """[pixels, R] weights of linear interpolation between patch cells spread over start..stop, 0 beyond them."""
    cells = patch.shape[-1]
    centres = torch.arange(pixels.start, pixels.stop, dtype=patch.dtype, device=patch.device) + 0.5
    position = (centres - start) / (stop - start) * cells - 0.5
    cell = torch.arange(cells, dtype=patch.dtype, device=patch.device)
    return (1 - (position[:, None] - cell).abs()).clamp(min=0)


def paste_masks(patches: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Rasterise every mask over the full image.

    Args:
        patches: [N, R, R] probabilities inside each box.
        boxes: [N, 4] XYXY pixels.
        size: (height, width).
        threshold: foreground is at least this.

    Returns:
        [N, height, width] bool.
    """
    masks = torch.zeros((len(patches), *size), dtype=torch.bool, device=patches.device)
    for mask, patch, box in zip(masks, patches, boxes, strict=True):
        region, values = paste_mask(patch, box, size)
        mask[region] = values >= threshold
    return masks
