"""Images as the tensors that the model takes."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from panoptic_blend.files.images import image_to_rgb, read_rgb


def read_image(path: Path | str) -> Tensor:
    """Decode an image file as uint8 RGB [3, H, W]; see `read_rgb`.

    Raises:
        DatasetError: the file is missing, no image, damaged, or so large that decoding it might exhaust memory.
    """
    return torch.from_numpy(read_rgb(path)).permute(2, 0, 1)


def image_to_tensor(image: Image.Image) -> Tensor:
    """An image opened with Pillow as `read_image` would return it.

    Raises:
        DatasetError: its pixels cannot be decoded.
    """
    return torch.from_numpy(image_to_rgb(image)).permute(2, 0, 1)
