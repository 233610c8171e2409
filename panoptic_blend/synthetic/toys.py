"""The things of the generated *shapes* data set: turned, textured toys with shadows.

A toy is a signed distance in pixels, negative inside: the image blends it over one pixel, the id map cuts it at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

PAINTS = np.array(
    [(226, 84, 58), (56, 104, 196), (38, 150, 118), (246, 186, 44), (142, 84, 176), (240, 240, 232), (222, 110, 150)],
    dtype=np.float32,
)
"""Colours of the toys; the first five are the favourites of the five kinds, in their order."""
FAVOURITE_COLOR = 0.65
"""Probability that a toy wears its kind's favourite colour."""


def _regular(corners: int, inner: float = 1.0) -> Floats:
    """Corners of a regular polygon, or of a star when every other one lies at `inner`; radius 1."""
    angles = 2 * np.pi * np.arange(corners) / corners
    radii = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1).astype(np.float32)


def _plus(arm: float = 0.34, length: float = 0.94) -> Floats:
    quarter = np.array([(length, -arm), (length, arm), (arm, arm)])
    turns = [np.linalg.matrix_power(np.array([(0, 1), (-1, 0)]), k) for k in range(4)]
    return np.concatenate([quarter @ turn for turn in turns]).astype(np.float32)


OUTLINES = {2: _regular(4), 3: _regular(3), 4: _regular(10, inner=0.48), 5: _plus()}
"""Corners of each kind by category id; a disc has none."""


def polygon_distance(corners: Floats, x: Floats, y: Floats) -> Floats:
    """Signed distance to a simple polygon, negative inside.

    Args:
        corners: [V, 2] XY, in order.
        x, y: coordinates, broadcastable to one shape [...].

    Returns:
        [...] distances in the coordinates' unit.
    """
    squared = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, dtype=np.float32)
    inside = np.zeros(squared.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
        along = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
        squared = np.minimum(squared, (wx - along * ex) ** 2 + (wy - along * ey) ** 2)
        inside ^= ((ay <= y) != (by <= y)) & (wx * ey * np.sign(ey) < wy * ex * np.sign(ey))
    return np.where(inside, -1, 1).astype(np.float32) * np.sqrt(squared)


@dataclass
class Toy:
    """A toy lying somewhere: kind by category id, centre, radius in pixels, angle in radians."""

    kind: int
    x: float
    y: float
    radius: float
    angle: float

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of an image of this size that the toy and its shadow can touch."""
        reach = self.radius + 6
        rows = slice(max(0, int(self.y - reach)), min(height, int(self.y + reach) + 1))
        return rows, slice(max(0, int(self.x - reach)), min(width, int(self.x + reach) + 1))

    def local(self, rows: slice, columns: slice) -> tuple[Floats, Floats]:
        """Pixel centres in the toy's own turned frame, in pixels from its centre."""
        dy, dx = np.ogrid[rows, columns]
        x, y = dx + np.float32(0.5 - self.x), dy + np.float32(0.5 - self.y)
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return cos * x + sin * y, cos * y - sin * x

    def distance(self, rows: slice, columns: slice) -> Floats:
        """Signed distance to the outline; corners are rounded by two pixels at most."""
        u, v = self.local(rows, columns)
        if self.kind not in OUTLINES:
            return np.hypot(u, v) - np.float32(self.radius)
        rounding = np.float32(min(2.0, 0.1 * self.radius))
        return polygon_distance(OUTLINES[self.kind] * np.float32(self.radius - rounding), u, v) - rounding


def paint_toy(rng: np.random.Generator, canvas: Floats, toy: Toy) -> None:
    """Blend shadow, textured body and dark outline of one toy into the image [H, W, 3], in place."""
    window = toy.window(*canvas.shape[:2])
    rows, columns = window
    distance = toy.distance(rows, columns)
    fallen = Toy(toy.kind, toy.x + 2.5, toy.y + 3, toy.radius, toy.angle).distance(rows, columns)
    canvas[window] *= (1 - 0.4 * np.clip(0.6 - fallen / 5, 0, 1))[..., None]

    favourite = rng.random() < FAVOURITE_COLOR
    paint = PAINTS[toy.kind - 1] if favourite else PAINTS[rng.integers(len(PAINTS))]
    paint = np.clip(paint * rng.uniform(0.85, 1.1) + rng.uniform(-12, 12, 3), 0, 255).astype(np.float32)
    second = paint * 0.62 if rng.random() < 0.5 else 0.45 * paint + 0.55 * 250
    body = paint + _pattern(rng, toy, rows, columns)[..., None] * (second - paint)

    dy, dx = np.ogrid[rows, columns]
    slope = ((dx - toy.x) + 1.4 * (dy - toy.y)) / (2 * toy.radius)
    body = body * (1.06 - 0.22 * slope[..., None]).astype(np.float32)
    rim = np.clip((distance + 2.2) / 1.2, 0, 1)[..., None]
    body = body * (1 - 0.6 * rim)
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    canvas[window] = canvas[window] * (1 - cover) + body * cover


def _pattern(rng: np.random.Generator, toy: Toy, rows: slice, columns: slice) -> Floats:
    """Where a toy wears its second colour, 0..1: nowhere, or in stripes, dots, checks or rings."""
    u, v = toy.local(rows, columns)
    wave = np.float32(2 * np.pi / max(7.0, toy.radius * rng.uniform(0.35, 0.6)))
    choice = rng.integers(5)
    if choice == 1:
        field = np.sin(wave * u) + 0 * v
    elif choice == 2:
        field = np.cos(wave * u) + np.cos(wave * v) - 0.9
    elif choice == 3:
        field = 1.5 * np.sin(wave * u / 1.5) * np.sin(wave * v / 1.5)
    elif choice == 4:
        field = np.sin(wave * np.hypot(u, v))
    else:
        return np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=np.float32)
    return np.clip(0.5 + 1.5 * field, 0, 1)
