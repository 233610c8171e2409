"""hotcoco's mask AP against pycocotools', to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.hotcoco_instances import HotcocoMaskAP, fastest_mask_ap
from panoptic_blend.evaluation.image_pair import Detections, ImagePair
from panoptic_blend.evaluation.instances import MaskAP
from panoptic_blend.evaluation.metric import merge_states

from .random_maps import CATEGORIES
from .test_instances import random_images

pytest.importorskip("hotcoco")


def count(metric, pairs):
    for pair in pairs:
        metric.update(pair)
    return metric


@given(st.integers(0, 2**32), st.lists(st.integers(0, 2**40), unique=True, max_size=6))
@settings(max_examples=40, deadline=None)
def test_equals_pycocotools_on_crowds_ties_and_absent_classes(seed, image_ids):
    pairs = random_images(np.random.default_rng(seed), image_ids)
    one, other = (count(kind(CATEGORIES), pairs) for kind in (MaskAP, HotcocoMaskAP))
    assert one.compute() == other.compute()


def test_parts_of_several_processes_are_the_whole_and_images_given_twice_count_once():
    pairs = random_images(np.random.default_rng(3), [5, 2, 9, 1, 7])
    states = [count(HotcocoMaskAP(CATEGORIES), part).state() for part in (pairs[3:], [], pairs[:3], pairs[:1])]
    merged = merge_states(HotcocoMaskAP(CATEGORIES), states)
    expected = count(MaskAP(CATEGORIES), pairs).compute()
    assert 0 < expected.ap < 1
    assert merged.compute() == expected
    assert merged.compute() == expected  # computing changes nothing
    merged.update(pairs[1])
    assert merged.compute() == expected


def test_ids_that_hotcoco_cannot_order_are_left_to_pycocotools():
    assert isinstance(fastest_mask_ap(CATEGORIES, [1, 0, 2]), HotcocoMaskAP)
    for other in ("a", -1, 2**63):
        assert isinstance(fastest_mask_ap(CATEGORIES, [1, other]), MaskAP)
        nothing = np.zeros((4, 4), np.int32)
        with pytest.raises(DatasetError, match="numbers as ids"):
            HotcocoMaskAP(CATEGORIES).update(ImagePair(other, nothing, [], nothing, [], Detections([], [], [])))
