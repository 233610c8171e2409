"""Paints one image of the generated *shapes* data set, and its id map with it.

A landscape in bands (stuff) with toys lying on it (things).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from panoptic_blend.categories import Categories, Category
from panoptic_blend.coco.truth import TrueSegment
from panoptic_blend.structures import IdMap
from panoptic_blend.synthetic.toys import Floats, Toy, paint_toy

HEIGHT, WIDTH = 160, 224
MIN_AREA = 40
"""Segments with fewer visible pixels than this become void."""

SHAPES = Categories(
    [
        Category(1, "disc", True, (230, 90, 60), "toy"),
        Category(2, "square", True, (60, 110, 200), "toy"),
        Category(3, "triangle", True, (50, 160, 120), "toy"),
        Category(4, "star", True, (245, 185, 50), "toy"),
        Category(5, "cross", True, (150, 90, 180), "toy"),
        Category(11, "sky", False, (160, 205, 235), "landscape"),
        Category(12, "hills", False, (110, 135, 120), "landscape"),
        Category(13, "sea", False, (40, 120, 150), "landscape"),
        Category(14, "sand", False, (230, 205, 155), "landscape"),
        Category(15, "grass", False, (130, 175, 80), "landscape"),
    ]
)
SKY, HILLS, SEA, SAND, GRASS = (category.id for category in SHAPES.stuff)


@dataclass
class Scene:
    """One image with its truth.

    Attributes:
        image: uint8 [160, 224, 3] RGB.
        id_map: int32 [160, 224]; 0 = void.
        segments: what the ids mean, for every id in the map.
    """

    image: npt.NDArray[np.uint8]
    id_map: IdMap
    segments: dict[int, TrueSegment]


def paint_scene(rng: np.random.Generator) -> Scene:
    """Draw one scene; the same generator state gives the same bytes."""
    canvas, id_map, segments = _landscape(rng)
    if rng.random() < 0.08:
        _scatter_crowd(rng, canvas, id_map, segments)
    full_area: dict[int, int] = {}
    for number in range(1, int(rng.integers(3, 9)) + 1):
        toy, inside = _place(rng, id_map, full_area)
        if toy is None:
            continue
        segment_id = 1000 * toy.kind + number
        window = toy.window(HEIGHT, WIDTH)
        distance = toy.distance(*window)
        paint_toy(rng, canvas, toy)
        if rng.random() < 0.25:  # annotators leave a thin unlabelled rim around some objects
            id_map[window][distance < 1] = 0
        id_map[window][inside] = segment_id
        full_area[segment_id] = int(inside.sum())
        segments[segment_id] = TrueSegment(toy.kind)
    ids, counts = np.unique(id_map, return_counts=True)
    seen = {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i > 0}
    id_map[np.isin(id_map, [i for i, n in seen.items() if n < MIN_AREA])] = 0
    canvas += rng.normal(0, 2.5, canvas.shape).astype(np.float32)
    image = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return Scene(image, id_map, {i: segments[i] for i, n in seen.items() if n >= MIN_AREA})


def _place(
    rng: np.random.Generator, id_map: IdMap, full_area: dict[int, int]
) -> tuple[Toy | None, npt.NDArray[np.bool_]]:
    """Find a place where the new toy leaves at least 40 % of every earlier one to be seen."""
    kind = int(rng.integers(1, len(SHAPES.things) + 1))
    radius = float(np.exp(rng.uniform(np.log(13), np.log(44))))
    for _ in range(12):
        x, y = rng.uniform(0.05 * WIDTH, 0.95 * WIDTH), rng.uniform(0.2 * HEIGHT, 0.95 * HEIGHT)
        toy = Toy(kind, x, y, radius, float(rng.uniform(0, 2 * np.pi)))
        window = toy.window(HEIGHT, WIDTH)
        inside = toy.distance(*window) < 0
        left = {i: int((id_map == i).sum()) - int((id_map[window][inside] == i).sum()) for i in full_area}
        if all(left[i] >= 0.4 * area for i, area in full_area.items()):
            return toy, inside
    return None, np.zeros((0, 0), dtype=bool)


def _landscape(rng: np.random.Generator) -> tuple[Floats, IdMap, dict[int, TrueSegment]]:
    """Bands from sky to ground behind wavy borders, some of them with a thin void line."""
    bands = [SKY]
    bands += [HILLS] if rng.random() < 0.55 else []
    bands += [SEA] if rng.random() < 0.6 else []
    bands += [SAND] if rng.random() < 0.5 else [GRASS]
    weights = {SKY: 1.1, HILLS: 0.7, SEA: 0.8, SAND: 1.6, GRASS: 1.6}
    heights = np.array([weights[b] for b in bands]) * rng.uniform(0.75, 1.25, len(bands))
    edges = np.cumsum(heights / heights.sum())[:-1] * HEIGHT

    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    canvas = _band_texture(rng, SKY, y, x)
    id_map = np.full((HEIGHT, WIDTH), 1000 * SKY, dtype=np.int32)
    segments = {1000 * SKY: TrueSegment(SKY)}
    for band, edge in zip(bands[1:], edges, strict=True):
        swing = {HILLS: 9.0, SEA: 0.6, SAND: 4.0, GRASS: 4.0}[band]
        waves = sum(
            np.float32(swing / k) * np.sin(x * np.float32(2 * np.pi * k / rng.uniform(90, 200)) + rng.uniform(0, 7))
            for k in (1, 2)
        )
        below = (y + 0.5 - np.float32(edge) - waves).astype(np.float32)
        cover = np.clip(0.5 + below, 0, 1)[..., None]
        canvas = canvas * (1 - cover) + _band_texture(rng, band, y - np.float32(edge), x) * cover
        if rng.random() < 0.25:
            id_map[below > -1.5] = 0
        id_map[below > 0] = 1000 * band
        segments[1000 * band] = TrueSegment(band)
    return canvas, id_map, segments


def _noise(rng: np.random.Generator, cell_height: int, cell_width: int) -> Floats:
    """Smooth noise in about -1..1 with blobs of the given size in pixels, [H, W, 1]."""
    grid = rng.uniform(-1, 1, (HEIGHT // cell_height + 2, WIDTH // cell_width + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))[..., None]


def _band_texture(rng: np.random.Generator, band: int, y: Floats, x: Floats) -> Floats:
    """A full [H, W, 3] image of one band's material; `y` counts from the band's upper edge."""
    tone = rng.uniform(0.92, 1.06) * np.array(SHAPES.by_id(band).color) + rng.uniform(-8, 8, 3)
    color: Floats = np.broadcast_to(tone.astype(np.float32), (HEIGHT, WIDTH, 3))
    if band == SKY:
        clouds = np.clip(_noise(rng, 14, 44) + 0.4 * _noise(rng, 6, 16) - 0.15, 0, 1)
        haze = np.clip(y[..., None] / 90, 0, 1)
        return color * (0.84 + 0.16 * haze) + (250 - color) * (0.75 * clouds)
    if band == HILLS:
        return color * (1 - 0.1 * np.clip(y[..., None] / 40, 0, 1)) + 12 * _noise(rng, 10, 14) + 7 * _noise(rng, 3, 4)
    if band == SEA:
        phase = np.float32(rng.uniform(0, 7))
        ripples = np.sin(np.float32(0.9) * y + np.float32(1.2) * np.sin(np.float32(0.06) * x + phase))[..., None]
        return color * (1.1 - 0.2 * np.clip(y[..., None] / 50, 0, 1)) + 9 * ripples + 9 * _noise(rng, 3, 18)
    grain = _noise(rng, 2, 2) if band == SAND else _noise(rng, 5, 2)
    return color + (7 if band == SAND else 16) * grain + 8 * _noise(rng, 20, 40)


def _scatter_crowd(rng: np.random.Generator, canvas: Floats, id_map: IdMap, segments: dict[int, TrueSegment]) -> None:
    """A heap of many small toys of one kind, annotated as one crowd segment."""
    kind = int(rng.integers(1, len(SHAPES.things) + 1))
    x, y = rng.uniform(0.2, 0.8) * WIDTH, rng.uniform(0.65, 0.9) * HEIGHT
    for _ in range(int(rng.integers(10, 18))):
        place = rng.normal((x, y), (17, 7))
        toy = Toy(kind, float(place[0]), float(place[1]), float(rng.uniform(4.5, 6.5)), float(rng.uniform(0, 7)))
        if not (0 < toy.x < WIDTH and 0 < toy.y < HEIGHT):
            continue
        paint_toy(rng, canvas, toy)
        id_map[toy.window(HEIGHT, WIDTH)][toy.distance(*toy.window(HEIGHT, WIDTH)) < 0] = 1000 * kind
    segments[1000 * kind] = TrueSegment(kind, is_crowd=True)
