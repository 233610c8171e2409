"""Reading a map between its cells, written to be obviously right."""

from __future__ import annotations

from torch import Tensor


def sample_bilinear(image: Tensor, y: float, x: float) -> float:
    """Value between four cells; 0 more than a cell outside, clamped at the border."""
    height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = image[top, left].item() * (1 - dx) + image[top, right].item() * dx
    lower = image[bottom, left].item() * (1 - dx) + image[bottom, right].item() * dx
    return upper * (1 - dy) + lower * dy
