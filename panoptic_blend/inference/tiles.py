"""How a large picture is cut into tiles that overlap, and which tile counts where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.input_rule import SIZE_DIVISOR

GRID = 4
"""Tiles begin at multiples of this, where the cells of the stuff branch's maps begin."""


@dataclass(frozen=True)
class Span:
    """The pixels of a tile along one axis.

    Attributes:
        start: first pixel.
        stop: the one after the last.
        core_start: from here on the tile counts: from the middle of its overlap with the tile before.
        core_stop: from here on the next tile counts.
        free_start: where the tile before ends.
        free_stop: where the next one begins.
    """

    start: int
    stop: int
    core_start: int
    core_stop: int
    free_start: int
    free_stop: int

    @property
    def cells(self) -> slice:
        """Those of a map at stride `GRID`."""
        return slice(self.start // GRID, -(-self.stop // GRID))

    def weights(self) -> npt.NDArray[np.float32]:
        """How much each cell counts: 1, and a ramp where tiles overlap. Those of all tiles add up to 1 everywhere."""
        centers = np.arange(self.cells.start, self.cells.stop) * GRID + GRID / 2
        weights = np.ones(len(centers))
        if self.free_start > self.start:
            weights *= ((centers - self.start) / (self.free_start - self.start)).clip(0, 1)
        if self.free_stop < self.stop:
            weights *= ((self.stop - centers) / (self.stop - self.free_stop)).clip(0, 1)
        return weights.astype(np.float32)


def check_tiles(tile: int, overlap: int) -> None:
    """Raise `ConfigError` for sizes in pixels that make no tiling."""
    if tile < 64 or tile % 32:
        raise ConfigError(f"tile {tile}: give a multiple of 32 pixels, 64 or more.")
    if overlap % (2 * GRID) or not 0 < overlap <= tile / 3:
        raise ConfigError(
            f"overlap {overlap}: give a multiple of {2 * GRID} pixels, more than 0 and at most a third of the tile "
            f"({tile})."
        )


def cut(length: int, tile: int, overlap: int) -> list[Span]:
    """As few tiles over one axis as there can be, all of about one size, and as large as may be: a network sees more.

    Neighbours share `overlap` pixels or more, but no more than half of a tile, so that no third one reaches there.

    Args:
        length: pixels of the picture.
        tile: pixels of a tile at most.
        overlap: pixels that two neighbours share at least.
    """
    number = max(1, math.ceil((length - overlap) / (tile - overlap)))
    needed = -(-(length + (number - 1) * overlap) // (number * GRID)) * GRID
    largest = min(tile, 2 * length // (number + 1))
    # A network pads a tile of another size, and what it pads is not the picture.
    size = largest // SIZE_DIVISOR * SIZE_DIVISOR
    size = size if size >= needed else min(tile, max(needed, largest // GRID * GRID))
    steps = max(1, number - 1)
    starts = [-(-index * (length - size) // (steps * GRID)) * GRID for index in range(number)]
    stops = [start + size for start in starts[:-1]] + [length]
    spans = []
    for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        free_start = stops[index - 1] if index else start
        free_stop = starts[index + 1] if index + 1 < number else stop
        spans.append(Span(start, stop, (start + free_start) // 2, (free_stop + stop) // 2, free_start, free_stop))
    return spans
