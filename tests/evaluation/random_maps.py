"""Random truth and prediction with everything scoring must cope with."""

from __future__ import annotations

import numpy as np

from panoptic_blend.categories import Categories, Category
from panoptic_blend.coco.annotations import ImageRecord, SegmentRecord
from panoptic_blend.coco.segments_png import MAX_ID
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.structures import Segment

CATEGORIES = Categories(
    [Category(id=i, name=f"c{i}", is_thing=i < 40, color=(i, i, i)) for i in (9, 1, 33, 50, 41, 77)]
)


def random_ids(rng: np.random.Generator, size: tuple[int, int], count: int) -> np.ndarray:
    """Overlapping rectangles of random ids on void, some of them split."""
    id_map = np.zeros(size, np.int32)
    for segment_id in rng.choice(MAX_ID, count, replace=False) + 1:
        for _ in range(rng.integers(1, 3)):
            y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
            height, width = rng.integers(1, size[0] + 1), rng.integers(1, size[1] + 1)
            id_map[y : y + height, x : x + width] = segment_id
    return id_map


def random_image(rng: np.random.Generator, image_id: int, size: tuple[int, int] = (9, 11)):
    """An ImageRecord with its id map, and a predicted id map with its Segments: near the truth, or far from it."""
    truth = random_ids(rng, size, int(rng.integers(0, 7)))
    predicted = random_ids(rng, size, int(rng.integers(0, 7)))
    if rng.random() < 0.7:
        keep = rng.random(size) < rng.choice([0.3, 0.6, 0.9, 1.0])
        predicted = np.where(keep, truth, predicted)
    if rng.random() < 0.3:
        truth[rng.random(size) < 0.4] = 0
    ids = [int(c.id) for c in CATEGORIES]
    category_of = {int(i): int(rng.choice(ids[: rng.integers(1, len(ids) + 1)])) for i in np.unique(truth) if i}
    segments = [
        SegmentRecord(i, c, bool(rng.random() < 0.3), int((truth == i).sum()), (0, 0, 0, 0))
        for i, c in category_of.items()
    ]
    rng.shuffle(segments)
    predictions = [
        Segment(
            id=int(i),
            category_id=category_of[int(i)] if int(i) in category_of and rng.random() < 0.8 else int(rng.choice(ids)),
            is_thing=True,
            score=float(rng.random()),
            area=int((predicted == i).sum()),
        )
        for i in np.unique(predicted)
        if i
    ]
    rng.shuffle(predictions)
    record = ImageRecord(image_id, f"{image_id}.jpg", size[1], size[0], f"{image_id}.png", segments)
    return record, truth, predicted, predictions


def random_pair(rng: np.random.Generator, image_id: int, size: tuple[int, int] = (9, 11)) -> ImagePair:
    """The same as metrics take it."""
    record, truth, predicted, segments = random_image(rng, image_id, size)
    return ImagePair(image_id, truth, record.segments, predicted, segments)
