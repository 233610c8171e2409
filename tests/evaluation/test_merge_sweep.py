"""A sweep counts what merging and scoring count for each of its points, one after the other."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.image_pair import Detections, ImagePair
from panoptic_blend.evaluation.merge_sweep import MergeSweep
from panoptic_blend.evaluation.merging import Grid, Thresholds
from panoptic_blend.evaluation.metric import merge_states
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.inference.unmerged import encode_masks
from panoptic_blend.modeling.postprocess.merge import merge
from panoptic_blend.structures import Instances

from .random_maps import CATEGORIES, random_pair

SIZE = (24, 30)
GRID = Grid((0.25, 0.5, 0.75), (0.0, 0.3, 0.5, 1.0), (0, 20, 100))


def random_instances(rng: np.random.Generator, pair: ImagePair) -> Instances:
    """Boxes around true segments and elsewhere, with masks that fill them more or less; scores on thresholds, too."""
    boxes = []
    for segment in pair.truth_segments:
        y, x = np.nonzero(pair.truth_ids == segment.id)
        boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
    for _ in range(int(rng.integers(0, 6))):
        left, top = rng.integers(0, SIZE[1] - 4), rng.integers(0, SIZE[0] - 4)
        boxes.append([left, top, rng.integers(left + 1, SIZE[1] + 1), rng.integers(top + 1, SIZE[0] + 1)])
    count = len(boxes)
    scores = np.where(rng.random(count) < 0.3, rng.choice(GRID.min_score, count), rng.random(count))
    return Instances(
        torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(rng.integers(0, len(CATEGORIES.things), count)),
        torch.tensor(rng.random((count, 7, 7)) * rng.choice([0.4, 1.0, 3.0]), dtype=torch.float32),
        SIZE,
    )


def random_scene(seed: int) -> tuple[ImagePair, Instances, torch.Tensor]:
    """A true map, and what could be merged for it."""
    rng = np.random.default_rng(seed)
    pair = random_pair(rng, seed, SIZE)
    instances = random_instances(rng, pair)
    coarse = torch.tensor(rng.integers(0, len(CATEGORIES.stuff) + 1, (4, 5)))
    stuff = coarse.repeat_interleave(6, 0).repeat_interleave(6, 1).to(torch.uint8)
    detections = Detections(instances.scores.tolist(), instances.labels.tolist(), encode_masks(instances))
    return replace(pair, detections=detections, stuff=stuff.numpy()), instances, stuff


def one_by_one(point: Thresholds, scenes: list[tuple[ImagePair, Instances, torch.Tensor]]) -> PanopticQuality:
    """The model's merge and the metric of its maps."""
    quality = PanopticQuality(CATEGORIES)
    for pair, instances, stuff in scenes:
        thresholds = point.min_score, point.max_overlap, point.min_stuff_area
        id_map, segments = merge(instances, stuff, CATEGORIES, *thresholds)
        quality.update(replace(pair, predicted_ids=id_map, predicted_segments=segments))
    return quality


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=4, unique=True))
@example(list(range(20)))
def test_every_point_equals_merging_and_scoring_at_it(seeds: list[int]) -> None:
    scenes = [random_scene(seed) for seed in seeds]
    sweep = MergeSweep(CATEGORIES, GRID)
    for pair, _, _ in scenes:
        sweep.update(pair)
    result = sweep.compute()
    for point, found in zip(GRID.points, result.quality, strict=True):
        assert found == replace(one_by_one(point, scenes).compute(), notes=found.notes)


def test_the_scenes_tell_points_apart() -> None:
    scenes = [random_scene(seed) for seed in range(20)]
    counted = [one_by_one(point, scenes).state() for point in GRID.points]
    for a, b in itertools.combinations(counted, 2):
        assert any((a[name] != b[name]).any() for name in ("tp", "fp", "fn", "iou"))


def test_parts_merge_to_the_whole() -> None:
    whole, parts = MergeSweep(CATEGORIES, GRID), [MergeSweep(CATEGORIES, GRID) for _ in range(2)]
    for seed in range(12):
        pair = random_scene(seed)[0]
        whole.update(pair)
        parts[seed % 2].update(pair)
    merged = merge_states(MergeSweep(CATEGORIES, GRID), [part.state() for part in parts])
    for a, b in zip(whole.compute().quality, merged.compute().quality, strict=True):
        assert (a.all.pq, a.things.sq, a.stuff.rq) == pytest.approx((b.all.pq, b.things.sq, b.stuff.rq))


def test_the_best_point_is_the_highest_and_the_nearest_of_equals() -> None:
    own = Thresholds(0.5, 0.3, 20)
    nothing = MergeSweep(CATEGORIES, GRID).compute()
    assert nothing.best(own) == own
    sweep = MergeSweep(CATEGORIES, GRID)
    for seed in range(12):
        sweep.update(random_scene(seed)[0])
    result = sweep.compute()
    best = result.best(own)
    assert result.at(best).all.pq == max(quality.all.pq for quality in result.quality) > result.at(own).all.pq


def test_a_grid_takes_own_thresholds_in() -> None:
    grid = Grid((0.5, 0.2), (0.4,), ()).including(Thresholds(0.45, 0.4, 4096))
    assert grid == Grid((0.2, 0.45, 0.5), (0.4,), (4096,))
    assert grid.points == tuple(Thresholds(score, 0.4, 4096) for score in (0.2, 0.45, 0.5))


def test_a_pair_without_what_is_merged_is_refused() -> None:
    pair, _, _ = random_scene(0)
    for lacking in ({"stuff": None}, {"detections": None}, {"stuff": np.zeros((3, 3), np.uint8)}):
        with pytest.raises(DatasetError, match="image 0: needs detections, and stuff of the size of the truth"):
            MergeSweep(CATEGORIES, GRID).update(replace(pair, **lacking))
