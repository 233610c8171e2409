"""Images of panoptic maps: categories in their colours, instances told apart, names where there is room for them."""

from __future__ import annotations

import colorsys
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from panoptic_blend.categories import Categories
from panoptic_blend.files.images import Bands, Pixels, to_colors
from panoptic_blend.structures import IdMap, Segment

Color = tuple[int, int, int]
Sample = TypeVar("Sample", bound=np.generic)

SMALLEST_EDGE = 480
"""Images with a shorter edge below this are enlarged by a whole factor, so that names stay legible."""
LONGEST_EDGE = 65500
"""They are not enlarged beyond what a JPEG file can hold (libjpeg's JPEG_MAX_DIMENSION)."""
LARGEST_DRAWN = 16384
"""Pixels of the longer edge: of larger pictures every n-th pixel is drawn."""
OPACITY = {True: 0.6, False: 0.45}
"""How much of the image a segment's colour covers, by whether it is a thing."""
INSTANCE_SHIFTS = ((0.0, 0.0), (0.06, 0.17), (-0.06, -0.12), (0.08, -0.05), (-0.08, 0.09), (0.03, -0.17), (-0.03, 0.2))
"""(hue, lightness) added to the category's colour for its first, second, third... instance."""

PAPER, INK = (255, 255, 255), (32, 32, 32)
GAP = 8


@dataclass(frozen=True)
class Label:
    """Text wanted at a point, with the radius of the largest circle around it that stays inside the segment."""

    text: str
    center: tuple[int, int]
    radius: float
    is_thing: bool


def draw_overlay(
    image: Bands,
    id_map: IdMap,
    segments: Sequence[Segment],
    categories: Categories,
    *,
    scores: bool = True,
    tracked: bool = False,
) -> Image.Image:
    """Paint a panoptic map over its image.

    Args:
        image: [H, W, C] RGB, or other bands, of 8 or 16 bits; see `to_colors`.
        id_map: int32 [H, W]; ids that no segment lists count as void, which is drawn grey and hatched.
        segments: what the ids mean.
        categories: names and colours.
        scores: write each thing's confidence behind its name.
        tracked: ids stay with things from frame to frame: so do colours, and ids are written in place of confidences.

    Returns:
        RGB, of the image's size times a whole factor (1 unless the image is small).
    """
    factor = max(1, min(4, math.ceil(SMALLEST_EDGE / min(id_map.shape)), LONGEST_EDGE // max(id_map.shape)))
    canvas = Image.fromarray(to_colors(image)).resize(
        (image.shape[1] * factor, image.shape[0] * factor), Image.Resampling.BICUBIC
    )
    ids, positions = np.unique(id_map, return_inverse=True)
    known = {segment.id: segment for segment in segments}
    order = [known.get(int(i)) for i in ids]
    index_map = _enlarge(positions.reshape(id_map.shape).astype(np.int32), factor)
    painted = _paint(np.asarray(canvas), index_map, order, segment_colors(segments, categories, tracked))
    canvas = Image.fromarray(painted)
    _write_labels(canvas, _place_labels(index_map, order, categories, scores, tracked))
    return canvas


def thin_out(picture: npt.NDArray[Sample]) -> npt.NDArray[Sample]:
    """Every n-th pixel of an image or id map when it is larger than anybody looks at; else all."""
    step = math.ceil(max(picture.shape[:2]) / LARGEST_DRAWN)
    return picture[::step, ::step] if step > 1 else picture


def side_by_side(images: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Titled images in one row, scaled to the height of the tallest."""
    height = max(image.height for _, image in images)
    bar = max(24, height // 18)
    font = ImageFont.load_default(bar * 0.62)
    tiles = []
    for title, image in images:
        width = round(image.width * height / image.height)
        tile = Image.new("RGB", (width, height + bar), PAPER)
        tile.paste(image.resize((width, height), Image.Resampling.BICUBIC), (0, bar))
        ImageDraw.Draw(tile).text((width / 2, bar / 2), title, font=font, fill=INK, anchor="mm")
        tiles.append(tile)
    return _join(tiles, vertical=False)


def contact_sheet(images: Sequence[Image.Image], width: int = 1440) -> Image.Image:
    """Images one below the other, each scaled to `width` pixels."""
    scaled = [p.resize((width, round(p.height * width / p.width)), Image.Resampling.LANCZOS) for p in images]
    return _join(scaled, vertical=True)


def _join(tiles: Sequence[Image.Image], vertical: bool) -> Image.Image:
    """Tiles of one width (vertical) or height, with a gap between."""
    along = sum(tile.height if vertical else tile.width for tile in tiles) + GAP * (len(tiles) - 1)
    sheet = Image.new("RGB", (tiles[0].width, along) if vertical else (along, tiles[0].height), PAPER)
    position = 0
    for tile in tiles:
        sheet.paste(tile, (0, position) if vertical else (position, 0))
        position += (tile.height if vertical else tile.width) + GAP
    return sheet


def segment_colors(segments: Sequence[Segment], categories: Categories, by_id: bool = False) -> dict[int, Color]:
    """Segment id -> colour: the category's own for its first segment, varied for the following ones, or by their id."""
    seen: Counter[int] = Counter()
    colors = {}
    for segment in sorted(segments, key=lambda s: -s.area):
        base = categories.by_id(segment.category_id).color
        number = segment.id if by_id else seen[segment.category_id]
        shift = INSTANCE_SHIFTS[number % len(INSTANCE_SHIFTS)] if segment.is_thing else (0.0, 0.0)
        seen[segment.category_id] += 1
        hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in base))
        lightness = min(0.8, max(0.25, lightness + shift[1]))
        red, green, blue = colorsys.hls_to_rgb((hue + shift[0]) % 1, lightness, saturation)
        colors[segment.id] = (round(red * 255), round(green * 255), round(blue * 255))
    return colors


def _enlarge(index_map: npt.NDArray[np.int32], factor: int) -> npt.NDArray[np.int32]:
    return index_map.repeat(factor, axis=0).repeat(factor, axis=1)


def _paint(
    image: Pixels,
    index_map: npt.NDArray[np.int32],
    order: Sequence[Segment | None],
    colors: dict[int, Color],
) -> Pixels:
    """Blend colours in, hatch void, and draw the borders: light around things, dark between stuff."""
    grey = image.mean(axis=2, keepdims=True)
    palette = np.array([(70, 70, 70) if s is None else colors[s.id] for s in order], np.float32)
    opacity = np.array([0.55 if s is None else OPACITY[s.is_thing] for s in order], np.float32)
    is_void = np.array([s is None for s in order])
    is_thing = np.array([s is not None and s.is_thing for s in order])

    cover = opacity[index_map][..., None]
    void = is_void[index_map]
    base = np.where(void[..., None], grey, 0.35 * grey + 0.65 * image)
    blended = base * (1 - cover) + palette[index_map] * cover
    rows, columns = np.ogrid[: void.shape[0], : void.shape[1]]
    blended[void & ((rows + columns) % 12 < 2)] += 28

    border = borders(index_map)
    things = is_thing[index_map]
    blended[border & ~things] *= 0.55
    rim = border & things
    blended[rim] = 0.25 * palette[index_map[rim]] + 0.75 * 255
    return blended.clip(0, 255).astype(np.uint8)


def borders(index_map: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """[H, W] bool, true at pixels with another segment directly beside, above or below them."""
    border = np.zeros(index_map.shape, bool)
    beside = index_map[:, 1:] != index_map[:, :-1]
    below = index_map[1:] != index_map[:-1]
    border[:, 1:] |= beside
    border[:, :-1] |= beside
    border[1:] |= below
    border[:-1] |= below
    return border


def _place_labels(
    index_map: npt.NDArray[np.int32],
    order: Sequence[Segment | None],
    categories: Categories,
    scores: bool,
    tracked: bool,
) -> list[Label]:
    """One label a segment, at the middle of the largest circle that fits inside it."""
    from scipy import ndimage  # which takes its time, and most predictions are not drawn

    labels = []
    for index, (segment, box) in enumerate(zip(order, ndimage.find_objects(index_map + 1), strict=True)):
        if segment is None:
            continue
        inside = np.pad(index_map[box] == index, 1)
        distance = ndimage.distance_transform_edt(inside)
        y, x = np.unravel_index(distance.argmax(), distance.shape)
        text = categories.by_id(segment.category_id).name
        if tracked and segment.is_thing:
            text += f" {segment.id}"
        elif scores and segment.is_thing:
            text += f" {segment.score:.0%}"
        center = (int(x) - 1 + box[1].start, int(y) - 1 + box[0].start)
        labels.append(Label(text, center, float(distance.max()), segment.is_thing))
    return labels


def _write_labels(canvas: Image.Image, labels: Sequence[Label]) -> None:
    """Write labels where they do not cover one another, those of large segments first."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    largest = max(12, min(canvas.size) // 26)
    taken: list[tuple[float, float, float, float]] = []
    for label in sorted(labels, key=lambda each: -each.radius):
        if label.radius < 6:
            continue
        size = int(min(largest, max(11.0, label.radius * 0.7)))
        font = ImageFont.load_default(size)
        left, top, right, bottom = draw.textbbox((0, 0), label.text, font=font)
        width, height = right - left, bottom - top
        pad = max(2, size // 5)
        for step in (0.0, -1.2, 1.2):
            x = min(max(label.center[0] - width / 2, pad), canvas.width - width - pad)
            y = min(max(label.center[1] - height / 2 + step * (height + 2 * pad), pad), canvas.height - height - pad)
            plate = (x - pad, y - pad, x + width + pad, y + height + pad)
            if not any(_overlap(plate, other) for other in taken):
                break
        else:
            continue
        taken.append(plate)
        draw.rounded_rectangle(plate, radius=pad + 1, fill=(0, 0, 0, 165 if label.is_thing else 110))
        draw.text((x - left, y - top), label.text, font=font, fill=(255, 255, 255))


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
