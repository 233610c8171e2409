"""Intervals: each draw is what panoptic quality counts of the images drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from panoptic_blend.evaluation.per_image import PerImagePQ
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.report.resampling import interval, resample

from ..evaluation.random_maps import CATEGORIES, random_pair


def test_every_draw_is_panoptic_quality_of_the_images_drawn():
    pairs = [random_pair(np.random.default_rng(seed), seed) for seed in range(6)]
    metric = PerImagePQ(CATEGORIES)
    for pair in pairs:
        metric.update(pair)
    resampled = resample(metric.state(), CATEGORIES, draws=60, seed=3)
    random = np.random.default_rng(3)
    for draw in range(60):
        quality = PanopticQuality(CATEGORIES)
        for image in random.integers(len(pairs), size=len(pairs)):
            quality.update(pairs[image])
        result = quality.compute()
        expected = [[group.pq, group.sq, group.rq] for group in (result.all, result.things, result.stuff)]
        np.testing.assert_allclose(resampled.groups[draw], expected)
        per_class = [row.pq if row.tp + row.fp + row.fn else math.nan for row in result.per_class]
        np.testing.assert_allclose(resampled.per_class[draw], per_class)


def test_one_image_leaves_no_doubt_and_none_no_number():
    metric = PerImagePQ(CATEGORIES)
    nothing = resample(metric.state(), CATEGORIES, draws=3)
    assert not nothing.groups.any()
    assert all(math.isnan(bound) for bound in interval(nothing.per_class[:, 0]))
    metric.update(random_pair(np.random.default_rng(1), 1))
    low, high = interval(resample(metric.state(), CATEGORIES, draws=10).groups[:, 0, 0])
    assert low == high == pytest.approx(metric.compute().images[0].pq)


def test_an_interval_leaves_out_a_fortieth_at_either_end():
    values = np.append(np.arange(1001) / 1000, math.nan)
    assert interval(np.random.default_rng(0).permutation(values)) == pytest.approx((0.025, 0.975))
