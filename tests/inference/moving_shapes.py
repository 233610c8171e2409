"""Films of the shapes generator's landscapes and toys, whose tracks are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from panoptic_blend.coco.truth import TrueSegment
from panoptic_blend.synthetic.scene import HEIGHT, WIDTH, Scene, _landscape
from panoptic_blend.synthetic.toys import Toy, paint_toy


def moving_shapes(seed: int, frames: int, toys: int = 6) -> Iterator[Scene]:
    """A landscape that stands still, and toys that slide over it, turn, cover one another and bounce off the edges.

    Ids are those of `paint_scene`: 1000 x category, and for toys their number added.
    """
    rng = np.random.default_rng(seed)
    ground, ground_ids, ground_segments = _landscape(rng)
    kinds = rng.integers(1, 6, toys)
    moving = [
        Toy(int(kind), *rng.uniform((30, 50), (WIDTH - 30, HEIGHT - 20)), float(rng.uniform(14, 30)), 0.0)
        for kind in kinds
    ]
    speed, spin = rng.uniform(-4, 4, (toys, 2)), rng.uniform(-0.1, 0.1, toys)
    for frame in range(frames):
        canvas, id_map, segments = ground.copy(), ground_ids.copy(), dict(ground_segments)
        for number, toy in enumerate(moving):
            paint_toy(np.random.default_rng([seed, number]), canvas, toy)  # the same paint in every frame
            window = toy.window(HEIGHT, WIDTH)
            id_map[window][toy.distance(*window) < 0] = 1000 * toy.kind + number
            segments[1000 * toy.kind + number] = TrueSegment(toy.kind)
            speed[number] *= np.where((0 < toy.x < WIDTH, 20 < toy.y < HEIGHT), 1, -1)
            x, y = np.add((toy.x, toy.y), speed[number])
            moving[number] = replace(toy, x=float(x), y=float(y), angle=toy.angle + float(spin[number]))
        noise = np.random.default_rng([seed, 99, frame]).normal(0, 2.5, canvas.shape)
        seen = {int(i) for i in np.unique(id_map)} - {0}
        image = np.clip(canvas + noise + 0.5, 0, 255).astype(np.uint8)
        yield Scene(image, id_map, {i: meaning for i, meaning in segments.items() if i in seen})
