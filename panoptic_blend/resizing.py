"""Sizes of images, and images of those sizes.

Apart from `transforms`, since torchvision's second transforms import torch's compiler: a second, and 150 MiB, that
predicting need not wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # sizes are asked for where there is no torch, too
    from torch import Tensor


def output_size(height: int, width: int, shortest: int, longest: int) -> tuple[int, int]:
    """Size of an image resized to this shortest edge, limited so that the longest edge is at most `longest`.

    Pixels, rounded to the nearest as in detectron2's `ResizeShortestEdge`, never below 1.
    """
    scale = min(shortest / min(height, width), longest / max(height, width))
    return scaled(height, scale), scaled(width, scale)


def scaled(length: int, scale: float) -> int:
    """A length in pixels times a scale, rounded to the nearest, never below 1."""
    return max(1, int(length * scale + 0.5))


def resize_shortest_edge(image: Tensor, shortest: int, longest: int) -> Tensor:
    """Resize [C, H, W] (uint8 stays uint8) to `output_size`, bilinear with antialiasing."""
    return resize_image(image, output_size(image.shape[-2], image.shape[-1], shortest, longest))


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [C, H, W] (uint8 stays uint8) to (height, width), bilinear with antialiasing."""
    import torch
    from torch.nn.functional import interpolate

    if tuple(image.shape[-2:]) == size:
        return image
    if not image.numel():  # torch resizes nothing without values; torchvision gives the shape, as for targets alone
        return image.new_empty((*image.shape[:-2], *size))
    # Bytes are resized as they are on CPUs, where torch can.
    bytes_elsewhere = image.dtype == torch.uint8 and image.device.type != "cpu"
    source = image.float() if bytes_elsewhere else image
    resized = interpolate(source[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
    return resized.round_().to(torch.uint8) if bytes_elsewhere else resized
