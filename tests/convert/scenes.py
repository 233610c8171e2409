"""Random labelled scenes, and the pixels of a converted data set's segments."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments


def segments_of(root: Path, split: str = "train") -> dict[str, set[tuple[str, bool, bytes]]]:
    """Of every image, by file name: category, crowd or not, and the pixels of each segment."""
    annotations = PanopticAnnotations.load(root / "annotations" / f"panoptic_{split}.json")
    found: dict[str, set[tuple[str, bool, bytes]]] = {}
    for record in annotations:
        id_map = read_segments(record, root / f"panoptic_{split}", annotations.categories, split)
        found[record.file_name] = {
            (annotations.categories.by_id(s.category_id).name, s.is_crowd, pixels(id_map == s.id))
            for s in record.segments
        }
    return found


def pixels(mask: np.ndarray) -> bytes:
    """The pixels of a mask in the form that `segments_of` gives them."""
    return np.packbits(mask).tobytes()


def random_blobs(generator: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """[H, W] of 0, for nothing, and up to `count` rectangles' numbers."""
    labels = np.zeros((height, width), np.int32)
    for number in range(1, count + 1):
        y, x = generator.integers(height), generator.integers(width)
        labels[y : y + generator.integers(1, height), x : x + generator.integers(1, width)] = number
    return labels


def convert_dataset(source: Path, output: Path, *options: str) -> int:
    """Run the command in this process; its exit code."""
    return main(["convert-dataset", str(source), "--output", str(output), "--workers", "1", *options])


def write_image(path: Path, height: int, width: int) -> None:
    """A gray picture of this size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)


def write_map(path: Path, values: np.ndarray) -> None:
    """A PNG of 8 bits a channel, or of 16 for values of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def segments_of_maps(
    labels: np.ndarray, instances: np.ndarray, names: Mapping[int, str], things: Collection[str]
) -> set[tuple[str, bool, bytes]]:
    """What `segments_of` should give for an image with these labels [H, W] and numbers of objects [H, W], 0 for none.

    Things without a number are crowds; labels without a name are void.
    """
    expected = set()
    for label, name in names.items():
        is_label = labels == label
        numbers = np.unique(instances[is_label]).tolist() if name in things else [None]
        for number in numbers:
            mask = is_label if number is None else is_label & (instances == number)
            if mask.any():
                expected.add((name, number == 0, pixels(mask)))
    return expected


def random_rectangles(
    generator: np.random.Generator, height: int, width: int, count: int
) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Cars and cats, each with left, top, right and bottom, of which the last two are not in it."""
    found = []
    for _ in range(count):
        left, top = int(generator.integers(width - 1)), int(generator.integers(height - 1))
        right, bottom = int(generator.integers(left + 1, width)), int(generator.integers(top + 1, height))
        found.append((str(generator.choice(["car", "cat"])), (left, top, right, bottom)))
    return found


def seen_of(rectangles: list[tuple[str, tuple[int, int, int, int]]], height: int, width: int) -> set:
    """What `segments_of` gives for rectangles of which smaller ones lie in front, and of equal ones the later."""
    numbers = np.zeros((height, width), int)
    areas = [(right - left) * (bottom - top) for _, (left, top, right, bottom) in rectangles]
    for position in sorted(range(len(rectangles)), key=lambda each: (-areas[each], each)):
        left, top, right, bottom = rectangles[position][1]
        numbers[top:bottom, left:right] = position + 1
    return {(rectangles[n - 1][0], False, pixels(numbers == n)) for n in np.unique(numbers).tolist() if n}


def corners(rectangle: tuple[int, int, int, int]) -> list[list[float]]:
    """The outline of a rectangle as points."""
    left, top, right, bottom = map(float, rectangle)
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def png_bytes(mask: np.ndarray) -> bytes:
    """A mask as the content of a PNG of one bit."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()
