"""Random films whose segments keep their ids, with what scoring must cope with."""

from __future__ import annotations

import numpy as np

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.structures import Segment

from .random_maps import CATEGORIES


def random_film(rng: np.random.Generator, film: int | str, frames: int) -> list[ImagePair]:
    """Rectangles that move on void, some of them crowds; predicted with mistakes in place, id and category."""
    ids = [category.id for category in CATEGORIES]
    tracks = {int(i) + 1: (int(rng.choice(ids)), bool(rng.random() < 0.2)) for i in rng.choice(300, 5, replace=False)}
    places = {i: rng.integers(0, 6, 2) for i in tracks}
    aliases = {i: int(rng.integers(1, 9)) for i in tracks}
    meanings = {int(alias): int(rng.choice(ids)) for alias in range(1, 9)}
    pairs = []
    for frame in range(frames):
        truth, predicted = np.zeros((8, 9), np.int32), np.zeros((8, 9), np.int32)
        for i in tracks:
            places[i] = np.clip(places[i] + rng.integers(-1, 2, 2), 0, 6)
            y, x = places[i]
            truth[y : y + 4, x : x + 4] = i
            if rng.random() < 0.2:
                aliases[i] = int(rng.integers(1, 9))  # another id from here on
            if rng.random() < 0.8:
                predicted[y : y + int(rng.integers(3, 5)), x : x + 4] = aliases[i]
        right = {aliases[i]: category for i, (category, _) in tracks.items()}
        painted = [int(i) for i in np.unique(predicted) if i]
        segments = [
            Segment(i, right.get(i, meanings[i]) if rng.random() < 0.9 else meanings[i], True, 1.0, 1) for i in painted
        ]
        true = [SegmentRecord(i, *tracks[i], -1, (0, 0, 0, 0)) for i in tracks if (truth == i).any()]
        rng.shuffle(true)
        pairs.append(ImagePair(f"{film}/{frame}", truth, true, predicted, segments, video_id=film, frame_id=3 * frame))
    return pairs
