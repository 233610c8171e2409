"""Random labelled scenes, and the pixels of a converted data set's segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from panoptic_blend.coco.annotations import PanopticAnnotations, read_segments


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
