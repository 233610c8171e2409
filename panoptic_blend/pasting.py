"""From an R x R mask inside a box to pixels of the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Region = tuple[slice, slice]
"""Rows and columns of an image."""
FOREGROUND = 0.5 - 1e-6
"""Least value of a mask's own pixels: half, or half but for rounding.

Parts of a box outside the map are exactly undecided. Summed up in other orders, by other processors and runtimes, they
come out as half or a bit less, pixel by pixel; here they belong to the mask everywhere.
"""


def paste_mask(patch: Tensor, box: Tensor, size: tuple[int, int]) -> tuple[Region, Tensor]:
    """Resample one mask to the pixels around its box; the rest of the image is never touched.

    Bilinear, at pixel centres.

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
    y = _normalized_centres(rows, top, bottom, patch)
    x = _normalized_centres(columns, left, right, patch)
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    return (rows, columns), F.grid_sample(patch[None, None], grid[None], align_corners=False)[0, 0]


def _normalized_centres(pixels: slice, start: float, stop: float, like: Tensor) -> Tensor:
    """Pixel centres in a frame where the box spans -1..1."""
    centres = torch.arange(pixels.start, pixels.stop, dtype=like.dtype, device=like.device) + 0.5
    return (centres - start) / (stop - start) * 2 - 1


def paste_masks(patches: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = FOREGROUND) -> Tensor:
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
