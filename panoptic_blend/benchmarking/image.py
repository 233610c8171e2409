"""The image that is predicted when time is measured."""

from __future__ import annotations

import numpy as np
from PIL import Image

from panoptic_blend.files.images import Pixels


def draw_image(height: int, width: int) -> Pixels:
    """An image with large and small structures, uint8 RGB [H, W, 3], the same at every call."""
    generator = np.random.default_rng(0)
    image = np.zeros((height, width, 3))
    for cell in (4, 16, 64, 256):
        coarse = generator.integers(0, 64, (-(-height // cell), -(-width // cell), 3), dtype=np.uint8)
        image += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return image.astype(np.uint8)
