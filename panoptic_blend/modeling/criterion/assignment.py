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
    the largest of its four distances falls in its level's size range. Among several, the smallest box wins. Boxes are
    taken some at a time: memory does not grow with their number.

    Args:
        locations: L cells.
        boxes: [N, 4] XYXY pixels.
        sizes_of_interest: upper bound of each level but the last, in pixels.
        center_radius: in strides.

    Returns:
        matched: [L] int64, index of the box or -1.
        distances: [L, 4] left, top, right, bottom to the matched box in strides; undefined where unmatched.
    """
    smallest = torch.full_like(locations.strides, torch.inf)
    matched = torch.full_like(locations.level, BACKGROUND)
    if len(boxes) == 0:
        return matched, locations.centers.new_zeros((len(matched), 4))
    boxes = boxes.float()
    bounds = boxes.new_tensor([-1, *sizes_of_interest, torch.inf])
    at_once = max(1, _PAIRS_AT_ONCE // len(matched))
    for first in range(0, len(boxes), at_once):
        area, index = _claims(locations, boxes[first : first + at_once], bounds, center_radius).min(dim=1)
        better = area < smallest  # of equal boxes the first keeps the location
        smallest = torch.where(better, area, smallest)
        matched = torch.where(better, index + first, matched)
    own = boxes[matched]
    distances = torch.cat([locations.centers - own[:, :2], own[:, 2:] - locations.centers], dim=1)
    return matched, distances / locations.strides[:, None]


def _claims(locations: Locations, boxes: Tensor, bounds: Tensor, center_radius: float) -> Tensor:
    """[L, N] area of box n where it claims location l, infinite elsewhere; level k takes bounds[k] to bounds[k + 1]."""
    x, y = locations.centers[:, None].unbind(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    reach = locations.strides[:, None] * center_radius
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    central = (
        (x > torch.maximum(center_x - reach, x1))
        & (x < torch.minimum(center_x + reach, x2))
        & (y > torch.maximum(center_y - reach, y1))
        & (y < torch.minimum(center_y + reach, y2))
    )
    longest = torch.maximum(torch.maximum(x - x1, x2 - x), torch.maximum(y - y1, y2 - y))
    in_range = (longest >= bounds[locations.level, None]) & (longest <= bounds[locations.level + 1, None])
    return ((x2 - x1) * (y2 - y1)).expand(len(x), -1).masked_fill(~(central & in_range), torch.inf)


_PAIRS_AT_ONCE = 1 << 20
"""Of locations and boxes: the intermediate results stay a few MiB each."""


def centerness(distances: Tensor) -> Tensor:
    """[N, 4] left, top, right, bottom -> [N], 1 at the centre of a box and 0 on its border (FCOS, eq. 3)."""
    horizontal, vertical = distances[:, 0::2], distances[:, 1::2]
    product = (horizontal.amin(1) / horizontal.amax(1)) * (vertical.amin(1) / vertical.amax(1))
    return product.sqrt()
