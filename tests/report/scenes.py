"""Small data sets for pages, and predictions for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from panoptic_blend.categories import Categories, Category
from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.counting import count_ids
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.coco.truth import TrueSegment, TruthWriter, segments_info
from panoptic_blend.structures import Segment

HOSTILE = "<img src=x onerror=alert(1)>"
CATEGORIES = Categories([Category(1, HOSTILE, True, (200, 30, 30)), Category(2, "grass", False, (30, 160, 30))])

MEANING = {1: 1, 2: 2, 7: 1}
"""Of the ids of `make_scene`."""

IdMapOf = Mapping[int, int]
"""{id in the map: category id}."""


def picture(seed: int) -> np.ndarray:
    """A picture like no other."""
    coarse = np.random.default_rng(seed).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC))


def write_truth(
    root: Path, split: str, categories: Categories, scenes: Sequence[tuple[int, np.ndarray, IdMapOf]]
) -> Path:
    """Pictures of seeds with their id maps; returns the JSON."""
    with TruthWriter(root, split, categories) as writer:
        for number, (seed, id_map, meaning) in enumerate(scenes):
            name = f"{number:03d}.png"
            (root / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(seed)).save(root / split / name)
            png = writer.free_name(name)
            write_id_map(writer.staging / png, id_map)
            segments = {int(i): TrueSegment(meaning[int(i)]) for i in np.unique(id_map) if i}
            writer.add(name, png, id_map.shape[1], id_map.shape[0], segments_info(id_map, segments))
    return root / f"annotations/panoptic_{split}.json"


def write_predictions(
    output: Path, truth: Path, categories: Categories, scenes: Sequence[tuple[np.ndarray, IdMapOf, float]]
) -> Path:
    """Id maps with the score of their things, for the images of a truth; returns the folder."""
    with PredictionWriter(output, categories) as writer:
        for record, (id_map, meaning, score) in zip(PanopticAnnotations.load(truth), scenes, strict=True):
            ids, areas = count_ids(id_map)
            things = {i: categories.by_id(meaning[i]).is_thing for i in ids.tolist() if i}
            segments = [
                Segment(i, meaning[i], things[i], score if things[i] else 1.0, area)
                for i, area in zip(ids.tolist(), areas.tolist(), strict=True)
                if i
            ]
            writer.write(record, id_map, segments)
    return output


def make_scene(left: int, extra: bool = False) -> np.ndarray:
    """A thing on grass, and another one."""
    id_map = np.full((120, 160), 2, np.int32)
    id_map[20:60, left : left + 40] = 1
    if extra:
        id_map[80:90, 100:120] = 7
    return id_map


def report(output: Path, truth: Path, *words: str | Path) -> int:
    """Run `panoptic-blend report` in this process; returns its exit code."""
    return main(["report", *map(str, words), "--annotations", str(truth), "--output", str(output), "--workers", "1"])
