"""How images enter the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from panoptic_blend.errors import DatasetError

SIZE_DIVISOR = 32
"""Batches are padded to a multiple of the coarsest backbone stride."""


class InputRule(nn.Module):
    """Images of any sizes -> one normalised batch.

    Args:
        pixel_mean: per channel, 0..255, in the backbone's channel order; there are as many channels.
        pixel_std: per channel.
        flip_channels: the backbone expects BGR; channels after these three stay where they are.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, pixel_mean: Sequence[float], pixel_std: Sequence[float], flip_channels: bool):
        super().__init__()
        self.flip_channels = flip_channels
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Images [C, H_i, W_i], RGB first, uint8 or float in 0..255 -> [B, C, H, W], zero-padded bottom and right.

        Raises:
            DatasetError: an image has another number of channels.
        """
        device, channels = self.pixel_mean.device, len(self.pixel_mean)
        for image in images:
            if image.shape[0] != channels:
                raise DatasetError(
                    f"image of {image.shape[0]} channels: the model reads {channels} (model.input.channels). Give "
                    "images like those that it was trained on."
                )
        height, width = (
            -(-max(image.shape[axis] for image in images) // SIZE_DIVISOR) * SIZE_DIVISOR for axis in (1, 2)
        )
        batch = torch.zeros((len(images), channels, height, width), device=device)
        for padded, image in zip(batch, images, strict=True):
            pixels = image.to(device, non_blocking=True).float()
            pixels = torch.cat([pixels[:3].flip(0), pixels[3:]]) if self.flip_channels else pixels
            padded[:, : image.shape[1], : image.shape[2]] = (pixels - self.pixel_mean) / self.pixel_std
        return batch
