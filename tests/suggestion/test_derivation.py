from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.suggestion import derivation

NONE = np.zeros(0)
EXTENTS = st.lists(st.floats(0.001, 1), min_size=1, max_size=30).map(np.array)


def test_small_things_get_two_cells_of_the_finest_level() -> None:
    extents = np.linspace(0.03, 0.5, 101)  # a tenth is below 0.077
    edge = derivation.input_edge(extents, 200)
    assert np.percentile(extents, 10) * edge == pytest.approx(16, abs=16 * 0.077 + 1)


@given(EXTENTS, st.integers(64, 4000))
def test_inputs_are_neither_much_larger_than_the_images_nor_huge(extents: np.ndarray, native: int) -> None:
    edge = derivation.input_edge(extents, native)
    assert edge % 32 == 0
    assert min(native, 480) - 16 <= edge <= max(min(2.5 * native, 800), 32) + 16


@given(st.floats(0.4, 2.5), st.floats(1e4, 1e6))
def test_crops_hold_half_of_a_scene(aspect: float, pixels: float) -> None:
    edge = derivation.scene_edge(aspect, pixels)
    assert edge % 32 == 0
    assert abs(edge - (2 * pixels / max(aspect, 1 / aspect)) ** 0.5) <= 16 or edge == 192


def test_without_things_images_stay_as_they_are() -> None:
    assert derivation.input_edge(NONE, 608) == 608
    assert derivation.detector_levels(NONE, 608) == (5, [32, 64])


@pytest.mark.parametrize(("longest", "coarsest"), [(0.2, 5), (0.5, 5), (0.6, 6), (1.0, 6), (1.5, 7), (9.0, 7)])
def test_the_coarsest_level_sees_the_longest_things(longest: float, coarsest: int) -> None:
    level, sizes = derivation.detector_levels(np.full(10, longest), 512)  # the border is 256 x longest away
    assert level == coarsest
    assert sizes == [32, 64, 128, 256][: coarsest - 3]


@given(st.integers(0, 5000))
def test_no_crowded_image_is_cut(most: int) -> None:
    kept, candidates = derivation.detections(most)
    assert kept >= max(100, 1.5 * most)
    assert candidates >= 9 * most


def test_suppression_leaves_true_neighbours() -> None:
    assert derivation.suppression(NONE) == 0.5
    assert derivation.suppression(np.full(9, 0.61)) == pytest.approx(0.65)
    assert derivation.suppression(np.full(9, 0.9)) == 0.7


def test_only_rare_categories_are_repeated() -> None:
    assert derivation.repeat_threshold(np.array([0.5, 0.1, 0.0])) == 0
    assert derivation.repeat_threshold(np.array([0.5, 0.02])) == 0.1


@given(st.integers(4, 25).map(lambda n: 32 * n), st.floats(0.4, 2.5), st.floats(1e4, 1e7))
def test_crops_are_half_of_the_input_or_what_can_be_paid(edge: int, aspect: float, most: float) -> None:
    height, width = derivation.crop_size(edge, aspect, most)
    wanted = min(edge * edge * max(aspect, 1 / aspect) / 2, most)
    assert height % 32 == width % 32 == 0
    assert abs(height - max((wanted / aspect) ** 0.5, 128)) <= 16
    assert abs(width - max((wanted * aspect) ** 0.5, 128)) <= 16


def test_stuff_mask_and_average_follow_their_measure() -> None:
    assert derivation.smallest_stuff(NONE) == 16
    assert derivation.smallest_stuff(np.full(5, 172.5)) == 172
    assert derivation.smallest_stuff(np.full(5, 99999)) == 4096
    assert derivation.mask_resolution(np.full(5, 0.1), 512) == (28, 7)
    assert derivation.mask_resolution(np.full(5, 0.5), 512) == (56, 14)
    assert derivation.averaging(1000) == 0.995
    assert derivation.longest_edge(np.array([[100, 130], [50, 20]]), 100) == 256
    panorama = np.array([[480, 640]] * 9 + [[100, 8000]])
    assert derivation.longest_edge(panorama, 480) == 1280  # twice as elongated as the others
