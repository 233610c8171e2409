"""Panoptic quality of generated maps with COCO's categories: the engines on one core, in turns, and more cores.

The built-in engine decodes by kornia-rs, and once more by Pillow, as it does where kornia-rs cannot be installed.
hotcoco (extra `fast`) takes part where it is installed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console

from benchmarks.turns import print_ratios, take_turns
from panoptic_blend.coco import segments_png
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.evaluation.hotcoco_engine import has_hotcoco
from panoptic_blend.evaluation.pq import Engine, panoptic_quality
from panoptic_blend.evaluation.pq_result import PQResult
from panoptic_blend.structures import Segment

SIZE = (480, 640)


Scene = Callable[[np.random.Generator, int], tuple[np.ndarray, int]]
"""Draws an id map, its outlines moved by so many pixels; returns it with the number of stuff segments, ids 1, 2, ..."""


def bands(rng: np.random.Generator, shift: int) -> tuple[np.ndarray, int]:
    """As crowded as COCO: about four bands of stuff and seven things, in long runs of pixels."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    ids = np.zeros(SIZE, np.int32)
    for band, edge in enumerate([0, *np.sort(rng.integers(40, height, 3))]):
        ids[(y + 10 * np.sin(x / 30 + band)) >= edge + shift] = band + 1
    for thing in range(7):
        centre_y, centre_x = rng.integers(0, height), rng.integers(0, width)
        radius_y, radius_x = rng.integers(10, 120, 2)
        inside = ((y - centre_y) / radius_y) ** 2 + ((x - centre_x - shift) / radius_x) ** 2 <= 1
        ids[inside] = thing + 5
    return ids, 4


def discs(rng: np.random.Generator, shift: int) -> tuple[np.ndarray, int]:
    """Many short runs: 22 overlapping discs on stuff."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    ids = np.ones(SIZE, np.int32)
    for disc in range(22):
        centre_y, centre_x, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(10, 90)
        ids[(y - centre_y) ** 2 + (x - centre_x - shift) ** 2 <= radius**2] = disc + 2
    return ids, 1


def write(folder: Path, scene: Scene, images: int, shift: int) -> Path:
    """Generate `images` maps of the same scenes, their outlines moved by `shift` pixels."""
    categories = coco_categories()
    things, stuff = [c.id for c in categories.things], [c.id for c in categories.stuff]
    with PredictionWriter(folder, categories) as writer:
        for number in range(images):
            rng = np.random.default_rng(number)
            ids, stuff_segments = scene(rng, shift)
            # Kinds by the number of the scene, the same for truth and prediction.
            kinds = np.random.default_rng([number, 1])
            found, areas = np.unique(ids[ids > 0], return_counts=True)
            category_of = [0, *kinds.choice(stuff, stuff_segments, replace=False), *kinds.choice(things, 22)]
            segments = [
                Segment(int(i), int(category_of[i]), bool(i > stuff_segments), 1.0, int(a))
                for i, a in zip(found, areas, strict=True)
            ]
            writer.write(ImageRecord(number + 1, f"{number:06}.jpg", SIZE[1], SIZE[0], "", []), ids, segments)
    return folder / "predictions.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000, help="of bands; discs are a sixth as many")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    for scene, images in ((bands, options.images), (discs, (options.images + 5) // 6)):
        with tempfile.TemporaryDirectory() as name:
            truth, predicted = (write(Path(name) / part, scene, images, shift) for part, shift in (("a", 0), ("b", 4)))
            compare(truth, predicted, f"{images} pairs of {scene.__name__}", cores, options.rounds)


def compare(truth: Path, predicted: Path, title: str, cores: list[int], rounds: int) -> None:
    """Time the engines on one core, then the built-in one on more."""
    found: list[PQResult] = []

    def score(engine: Engine, workers: int = 1) -> None:
        # Held to so many cores, since panopticapi starts as many processes as there are.
        os.sched_setaffinity(0, cores[:workers])
        found.append(panoptic_quality(truth, predicted, workers=workers, engine=engine))

    def score_by_pillow() -> None:
        with patch.object(segments_png, "_decode_fast", return_value=None):
            score("builtin")

    engines: list[Engine] = ["panopticapi", "builtin"]
    if has_hotcoco():
        engines.append("hotcoco")
    one_core: dict[str, Callable[[], object]] = {engine: partial(score, engine) for engine in engines}
    one_core["builtin, Pillow"] = score_by_pillow
    print_ratios(f"{title}, one core", take_turns(one_core, rounds))
    more = {f"{n} cores": lambda n=n: score("builtin", n) for n in (1, 2, 4, 8, 16) if n <= len(cores)}
    print_ratios(f"{title}, builtin", take_turns(more, rounds))
    counts = {tuple((row.tp, row.fp, row.fn) for row in each.per_class) for each in found}
    first = found[0].all
    spread = max(abs(getattr(each.all, name) - getattr(first, name)) for each in found for name in ("pq", "sq", "rq"))
    Console(highlight=False).print(
        f"PQ {first.pq:.6f}, SQ {first.sq:.6f}, RQ {first.rq:.6f}; all runs differ by at most {spread:.1e}; "
        + ("their counts are the same" if len(counts) == 1 else "THEIR COUNTS DIFFER")
    )


if __name__ == "__main__":
    main()
