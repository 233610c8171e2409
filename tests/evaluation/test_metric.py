"""The one contract of all metrics: parts counted apart, kept and put together are the whole."""

import io
from dataclasses import replace

import numpy as np
import pytest

from panoptic_blend.evaluation.boundary import BoundaryPQ
from panoptic_blend.evaluation.calibration import Calibration
from panoptic_blend.evaluation.confusion import PanopticConfusion
from panoptic_blend.evaluation.covering import ParsingCovering
from panoptic_blend.evaluation.dagger import PQDagger
from panoptic_blend.evaluation.details import Details
from panoptic_blend.evaluation.film_quality import FilmQuality
from panoptic_blend.evaluation.instances import MaskAP
from panoptic_blend.evaluation.metric import merge_states
from panoptic_blend.evaluation.per_image import PerImagePQ
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.evaluation.semantic import MeanIoU
from panoptic_blend.evaluation.sizes import PQBySize
from panoptic_blend.evaluation.stq import SegmentationTrackingQuality
from panoptic_blend.evaluation.thing_errors import ThingErrors
from panoptic_blend.evaluation.vpq import VideoPanopticQuality

from .random_maps import CATEGORIES
from .test_instances import random_images

METRICS = [
    BoundaryPQ,
    Calibration,
    Details,
    FilmQuality,
    MaskAP,
    MeanIoU,
    PanopticConfusion,
    PanopticQuality,
    ParsingCovering,
    PerImagePQ,
    PQBySize,
    PQDagger,
    SegmentationTrackingQuality,
    ThingErrors,
    VideoPanopticQuality,
]


@pytest.fixture(scope="module")
def pairs():
    pairs = random_images(np.random.default_rng(3), [5, 2, "b", 9, 1, "a", 7])
    return [replace(pair, video_id=["x", 3][i % 2], frame_id=9 - i) for i, pair in enumerate(pairs)]


def count(kind, pairs):
    metric = kind(CATEGORIES)
    for pair in pairs:
        metric.update(pair)
    return metric


def on_disk(state):
    """A state as another process would read it from a file."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return dict(np.load(file, allow_pickle=False))


def assert_states_equal(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        if values.dtype == np.float64:  # parts are summed in another order
            np.testing.assert_allclose(values, other[name], rtol=1e-12)
        else:
            np.testing.assert_array_equal(values, other[name])


@pytest.mark.parametrize("kind", METRICS)
def test_parts_counted_in_other_processes_are_the_whole(kind, pairs):
    whole = count(kind, pairs)
    states = [on_disk(count(kind, part).state()) for part in (pairs[:3], [], pairs[3:4], pairs[4:])]
    merged = merge_states(kind(CATEGORIES), states)
    assert whole.compute() != kind(CATEGORIES).compute()
    assert_states_equal(merged.state(), whole.state())


@pytest.mark.parametrize("kind", METRICS)
def test_a_loaded_state_replaces_what_was_counted(kind, pairs):
    metric, other = count(kind, pairs[:2]), count(kind, pairs[2:])
    metric.load_state(other.state())
    assert metric.compute() == other.compute()
    assert_states_equal(metric.state(), other.state())


@pytest.mark.parametrize("kind", METRICS)
def test_a_state_and_a_result_are_copies(kind, pairs):
    metric = count(kind, pairs[:2])
    state, result = metric.state(), metric.compute()
    before = {name: values.copy() for name, values in state.items()}
    other = kind(CATEGORIES)
    other.load_state(state)
    other.update(pairs[2])
    metric.merge(other)
    assert_states_equal(state, before)
    restored = kind(CATEGORIES)
    restored.load_state(state)
    assert restored.compute() == result
