import numpy as np
import pytest

from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.per_image import ImagePQ, PerImagePQ
from panoptic_blend.evaluation.pq import PanopticQuality

from .random_maps import CATEGORIES, random_pair


def test_equals_panoptic_quality_of_each_image_alone():
    rng = np.random.default_rng(0)
    metric, whole = PerImagePQ(CATEGORIES), PanopticQuality(CATEGORIES)
    expected = []
    for number in range(50):
        pair = random_pair(rng, number if number % 2 else f"image {number}")
        alone = PanopticQuality(CATEGORIES)
        for each in (metric, whole, alone):
            each.update(pair)
        result = alone.compute()
        counts = [sum(getattr(row, name) for row in result.per_class) for name in ("tp", "fp", "fn")]
        expected.append((pair.image_id, result.all.n, *counts, *(getattr(result.all, n) for n in ("pq", "sq", "rq"))))
    images = metric.compute().images
    for image, (image_id, n, tp, fp, fn, *numbers) in zip(images, expected, strict=True):
        assert (image.image_id, image.n, image.tp, image.fp, image.fn) == (image_id, n, tp, fp, fn)
        assert (image.pq, image.sq, image.rq) == pytest.approx(numbers)
    # What is kept adds up to the whole.
    state = metric.state()
    for name, values in whole.state().items():
        if name != "wrong_areas":
            rows = np.bincount(state["category"], weights=state[name], minlength=len(CATEGORIES))
            np.testing.assert_allclose(rows, values)


def test_an_image_without_segments_is_listed_and_one_given_twice_counts_once():
    void = np.zeros((2, 3), np.int32)
    metric = PerImagePQ(CATEGORIES)
    for _ in range(2):
        metric.update(ImagePair("a", void, [], void, []))
    assert metric.compute().images == (ImagePQ("a", 0, 0, 0, 0, 0, 0, 0),)
    assert metric.compute().images[0].worth == 1.0
