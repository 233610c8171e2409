"""Images as the tensors that the model takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from panoptic_blend.files.images import Bands
from panoptic_blend.files.pictures import RGB, read_picture

_OF_16_BITS = 65535 / 255
"""Between two levels of 8 bits."""


def read_image(path: Path | str, bands: int = RGB) -> Tensor:
    """Decode an image file as the model takes it, [bands, H, W]; see `read_picture` and `to_tensor`.

    Raises:
        DatasetError: as `read_picture`.
    """
    return to_tensor(read_picture(path, bands))


def to_tensor(pixels: Bands) -> Tensor:
    """An image [H, W, C] as [C, H, W]: uint8 in the same memory, uint16 as float, 0..65535 scaled to 0..255."""
    if pixels.dtype == np.uint16:
        return torch.from_numpy(pixels.astype(np.float32) / np.float32(_OF_16_BITS)).permute(2, 0, 1)
    return torch.from_numpy(pixels).permute(2, 0, 1)
