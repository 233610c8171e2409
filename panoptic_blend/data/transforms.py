"""Augments an image together with its id map, and nothing else: all targets are derived afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from panoptic_blend.resizing import output_size, resize_image, scaled


def _resize_map(id_map: Tensor, size: tuple[int, int]) -> Tensor:
    # Not as a tv_tensors.Mask, whose NEAREST lies half a pixel off the bilinear image where this one does not.
    return F.resize(id_map, list(size), interpolation=v2.InterpolationMode.NEAREST_EXACT, antialias=False)


def _vary_color(image: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Multiply the three in an image [C, H, W]; bands after RGB, or less than three, are gray images of their own."""
    in_255 = image.is_floating_point()
    image = image / 255 if in_255 else image  # torchvision takes 1 for the brightest of floats
    varied = []
    for part in [image[:3], *image[3:, None]] if len(image) >= 3 else image[:, None]:
        part = F.adjust_contrast(F.adjust_brightness(part, brightness), contrast)
        varied.append(F.adjust_saturation(part, saturation) if len(part) == 3 else part)
    image = torch.cat(varied)
    return 255 * image if in_255 else image


class TrainingTransform:
    """Random colour, flip, size and crop, all drawn from one generator.

    Args:
        shortest_edge: sizes in pixels; images are resized to a shortest edge drawn from these, limited so that the
            longest edge is at most `longest_edge`.
        longest_edge: see `shortest_edge`.
        jitter: range (low, high) of a further factor on the size (large-scale jitter, Simple Copy-Paste, sec. 3).
        crop: (height, width) of a random crop; smaller images are padded at the bottom and right, with black and void.
        flip: probability of a horizontal flip.
        color: brightness, contrast and saturation are each multiplied by a factor from [1 - color, 1 + color]; a band
            after red, green and blue is varied as a gray image of its own.
    """

    def __init__(
        self,
        shortest_edge: Sequence[int],
        longest_edge: int,
        jitter: tuple[float, float] | None = None,
        crop: tuple[int, int] | None = None,
        flip: float = 0.5,
        color: float = 0.0,
    ):
        self.shortest_edge = tuple(shortest_edge)
        self.longest_edge = longest_edge
        self.jitter = jitter
        self.crop = crop
        self.flip = flip
        self.color = color

    def __call__(self, image: Tensor, id_map: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, np.ndarray]:
        """Vary one image and its map in the same way.

        Args:
            image: [C, H, W], RGB first, uint8 or float in 0..255.
            id_map: [H, W] of an integer type; small types are faster. Exact up to 2^24.
            rng: decides everything, so equal generators give equal results.

        Returns:
            image [C, H', W'] and map [H', W'], of the types that came in.
        """
        labels = torch.from_numpy(id_map)[None]
        # Colour and flip come first, so that padding stays black, at the bottom and right.
        if self.color > 0:
            image = _vary_color(image, *rng.uniform(1 - self.color, 1 + self.color, 3).tolist())
        if rng.random() < self.flip:
            image, labels = F.horizontal_flip(image), F.horizontal_flip(labels)
        size = self._draw_size(image.shape[-2], image.shape[-1], rng)
        image, labels = resize_image(image, size), _resize_map(labels, size)
        if self.crop is not None:
            top, left = (int(rng.integers(max(0, have - want) + 1)) for have, want in zip(size, self.crop, strict=True))
            # F.crop pads with zeros, black and void, where the window leaves the image.
            image, labels = (F.crop(tensor, top, left, *self.crop) for tensor in (image, labels))
        return image.contiguous(), labels[0].contiguous().numpy()

    def _draw_size(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        shortest = self.shortest_edge[rng.integers(len(self.shortest_edge))]
        size = output_size(height, width, shortest, self.longest_edge)
        if self.jitter is None:
            return size
        factor = rng.uniform(*self.jitter)
        return scaled(size[0], factor), scaled(size[1], factor)
