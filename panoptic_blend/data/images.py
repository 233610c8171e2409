"""Images as the tensors that the model takes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from panoptic_blend.files.images import Pixels, read_rgb


def read_image(path: Path | str) -> Tensor:
    """Decode an image file as uint8 RGB [3, H, W]; see `read_rgb`.

    Raises:
        DatasetError: the file is missing, no image, damaged, or so large that decoding it might exhaust memory.
    """
    return to_tensor(read_rgb(path))


def to_tensor(pixels: Pixels) -> Tensor:
    """An image uint8 RGB [H, W, 3] as [3, H, W], in the same memory."""
    return torch.from_numpy(pixels).permute(2, 0, 1)
