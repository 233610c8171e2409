"""Where a pyramid's cells lie in the image, and how to read a convolution at only some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Locations:
    """Every cell of every level of one image, level after level, row after row.

    Attributes:
        centers: [L, 2] float, x and y in input pixels.
        strides: [L] float.
        level: [L] index of the cell's level.
        row: [L] row in its level.
        column: [L] column in its level.
    """

    centers: Tensor
    strides: Tensor
    level: Tensor
    row: Tensor
    column: Tensor


def locate(levels: list[Tensor], strides: list[int]) -> Locations:
    """Locations of feature maps [B, C, H_l, W_l]: cell i sits at i * stride + stride // 2 (FCOS, sec. 3.1)."""
    parts: list[list[Tensor]] = [[], [], [], [], []]
    for index, (feature, stride) in enumerate(zip(levels, strides, strict=True)):
        height, width = feature.shape[-2:]
        row, column = torch.meshgrid(
            torch.arange(height, device=feature.device), torch.arange(width, device=feature.device), indexing="ij"
        )
        row, column = row.flatten(), column.flatten()
        centers = torch.stack([column, row], dim=1) * float(stride) + stride // 2
        full = torch.full_like(row, index)
        for part, value in zip(
            parts, (centers, torch.full_like(centers[:, 0], stride), full, row, column), strict=True
        ):
            part.append(value)
    return Locations(*(torch.cat(part) for part in parts))


@dataclass
class Sites:
    """A selection of N cells of a batch.

    Attributes:
        image: [N] index in the batch.
        level: [N] index of the level.
        row: [N].
        column: [N].
    """

    image: Tensor
    level: Tensor
    row: Tensor
    column: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: Tensor) -> Sites:
        """The sites at indices [M]."""
        return Sites(self.image[index], self.level[index], self.row[index], self.column[index])

    def centers(self, strides: Sequence[int]) -> Tensor:
        """[N, 2] float, x and y in input pixels, with the levels' strides."""
        stride = torch.tensor(strides, device=self.level.device)[self.level]
        return torch.stack([self.column, self.row], dim=1) * stride[:, None].float() + (stride // 2)[:, None]

    @staticmethod
    def at(locations: Locations, image: Tensor, index: Tensor) -> Sites:
        """The sites of flat location indices [N] in images [N]."""
        return Sites(image, locations.level[index], locations.row[index], locations.column[index])


def conv3x3_at(convolution: nn.Conv2d, levels: list[Tensor], sites: Sites) -> Tensor:
    """A 3x3 convolution evaluated at chosen sites only.

    The attention layer has a third of the head's cost when run densely but is read at few places; gathering the
    3x3 neighbourhoods there gives the same numbers nearly for free.

    Args:
        convolution: 3x3, stride 1, padding 1.
        levels: feature maps [B, C, H_l, W_l].
        sites: N cells.

    Returns:
        [N, out_channels].
    """
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)  # [out, 9 C], taps before channels
    offset = torch.arange(-1, 2, device=weight.device)
    neighbours = levels[0].new_zeros((len(sites), 9, levels[0].shape[1]))
    for index, feature in enumerate(levels):
        chosen = (sites.level == index).nonzero().squeeze(1)
        height, width = feature.shape[-2:]
        row = (sites.row[chosen, None] + offset)[:, :, None].expand(-1, 3, 3).flatten(1)
        column = (sites.column[chosen, None] + offset)[:, None, :].expand(-1, 3, 3).flatten(1)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        values = feature.permute(0, 2, 3, 1)[
            sites.image[chosen, None], row.clamp(0, height - 1), column.clamp(0, width - 1)
        ]
        neighbours = neighbours.index_put((chosen,), values * inside[..., None])
    return F.linear(neighbours.flatten(1), weight.to(neighbours.dtype), _as(convolution.bias, neighbours))


def _as(bias: Tensor | None, like: Tensor) -> Tensor | None:
    return None if bias is None else bias.to(like.dtype)
