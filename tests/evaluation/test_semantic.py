from collections import Counter

import numpy as np
import pytest

from panoptic_blend.evaluation.semantic import MeanIoU

from .random_maps import CATEGORIES, random_pair


def test_equals_counting_pixel_by_pixel():
    rng = np.random.default_rng(0)
    metric = MeanIoU(CATEGORIES)
    both, either, right, pixels = Counter(), Counter(), 0, 0
    for number in range(30):
        pair = random_pair(rng, number)
        metric.update(pair)
        true_category = {s.id: s.category_id for s in pair.truth_segments if not s.is_crowd}
        predicted_category = {s.id: s.category_id for s in pair.predicted_segments}
        for place in np.ndindex(pair.truth_ids.shape):
            a = true_category.get(int(pair.truth_ids[place]))
            b = predicted_category.get(int(pair.predicted_ids[place]))
            if a is None:
                continue
            pixels += 1
            right += a == b
            for category in {a, b} - {None}:
                either[category] += 1
            if a == b:
                both[a] += 1
    result = metric.compute()
    assert result.per_class == pytest.approx({c.id: both[c.id] / either[c.id] for c in CATEGORIES})
    assert result.miou == pytest.approx(sum(both[i] / either[i] for i in either) / len(either))
    assert result.pixel_accuracy == pytest.approx(right / pixels)
    assert result.notes == ()


def test_nothing_labelled_is_zero_and_says_so():
    result = MeanIoU(CATEGORIES).compute()
    assert (result.miou, result.pixel_accuracy, result.per_class) == (0, 0, {})
    assert result.notes == ("the truth has no labelled pixel: mIoU is 0",)
