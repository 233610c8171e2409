"""Which location learns which object (FCOS, sec. 3.1 and 3.2, with centre sampling)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from panoptic_blend.modeling.network.fcos_head import HeadOutput
from panoptic_blend.modeling.network.locations import Locations
from panoptic_blend.structures import Targets

BACKGROUND = -1


class Assigner(Protocol):
    """Matches the locations of one image to its true boxes."""

    def __call__(self, output: HeadOutput, image: int, locations: Locations, targets: Targets) -> tuple[Tensor, Tensor]:
        """As `assign`; `output` of the whole batch lets an assigner weigh what was predicted for image `image`."""


class CenterSampling:
    """FCOS's assigner, which looks at boxes alone; see `assign`.

    Args:
        sizes_of_interest: upper bound of each level but the last, in pixels.
        center_radius: in strides.
    """

    def __init__(self, sizes_of_interest: Sequence[float], center_radius: float):
        self.sizes_of_interest = tuple(sizes_of_interest)
        self.center_radius = center_radius

    def __call__(self, output: HeadOutput, image: int, locations: Locations, targets: Targets) -> tuple[Tensor, Tensor]:
        """Matches and distances, as `assign` returns them."""
        return assign(locations, targets.boxes, self.sizes_of_interest, self.center_radius)


def assign(
    locations: Locations, boxes: Tensor, sizes_of_interest: Sequence[float], center_radius: float
) -> tuple[Tensor, Tensor]:
    """Match locations to ground-truth boxes.

    A location is positive for a box when it lies inside the box and within `center_radius` strides of its centre, and
    the largest of its four distances falls in its level's size range. Among several, the smallest box wins.

    Args:
        locations: L cells.
        boxes: [N, 4] XYXY pixels.
        sizes_of_interest: upper bound of each level but the last, in pixels.
        center_radius: in strides.

    Returns:
        matched: [L] int64, index of the box or -1.
        distances: [L, 4] left, top, right, bottom to the matched box in strides; undefined where unmatched.
    """
    x, y = locations.centers[:, None].unbind(-1)
    if len(boxes) == 0:
        return torch.full_like(locations.level, BACKGROUND), locations.centers.new_zeros((len(x), 4))
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    distances = torch.stack([x - x1, y - y1, x2 - x, y2 - y], dim=-1)  # [L, N, 4]

    reach = locations.strides[:, None] * center_radius
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    central = (
        (x > torch.maximum(center_x - reach, x1))
        & (x < torch.minimum(center_x + reach, x2))
        & (y > torch.maximum(center_y - reach, y1))
        & (y < torch.minimum(center_y + reach, y2))
    )
    bounds = boxes.new_tensor([-1, *sizes_of_interest, torch.inf], dtype=torch.float32)
    longest = distances.amax(dim=-1)
    in_range = (longest >= bounds[locations.level, None]) & (longest <= bounds[locations.level + 1, None])

    area = ((x2 - x1) * (y2 - y1)).expand(len(x), -1).masked_fill(~(central & in_range), torch.inf)
    smallest, matched = area.min(dim=1)
    chosen = distances[torch.arange(len(matched), device=matched.device), matched] / locations.strides[:, None]
    return matched.masked_fill(smallest == torch.inf, BACKGROUND), chosen


def centerness(distances: Tensor) -> Tensor:
    """[N, 4] left, top, right, bottom -> [N], 1 at the centre of a box and 0 on its border (FCOS, eq. 3)."""
    horizontal, vertical = distances[:, 0::2], distances[:, 1::2]
    product = (horizontal.amin(1) / horizontal.amax(1)) * (vertical.amin(1) / vertical.amax(1))
    return product.sqrt()
