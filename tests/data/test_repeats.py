from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.data.dataset import StepSampler
from panoptic_blend.data.repeats import category_presence, draw_repeats, epoch_length, repeat_factors

FACTORS = st.lists(st.floats(1, 8), min_size=1, max_size=12).map(np.array)
PRESENT = st.integers(1, 5).flatmap(
    lambda categories: st.lists(st.lists(st.booleans(), min_size=categories, max_size=categories), min_size=1)
)


@given(PRESENT, st.floats(0, 1))
def test_factors_are_those_of_the_paper(present: list[list[bool]], threshold: float) -> None:
    expected = []
    for image in present:
        factor = 1.0
        for category, there in enumerate(image):
            if there:
                frequency = sum(other[category] for other in present) / len(present)
                factor = max(factor, math.sqrt(threshold / frequency))
        expected.append(factor)
    assert repeat_factors(np.array(present), threshold) == pytest.approx(expected)


@given(FACTORS, st.floats(0, 1, exclude_max=True))
@example(np.ones(3), 1 - 2**-52)
def test_every_image_is_shown_its_factor_rounded_up_or_down(factors: np.ndarray, offset: float) -> None:
    counts = draw_repeats(factors, offset)
    scaled = factors * math.ceil(sum(factors)) / sum(factors)
    assert counts.sum() == epoch_length(factors) == math.ceil(sum(factors))
    assert counts.min() >= 1
    assert (np.abs(counts - scaled) < 1 + 1e-9).all()


def test_on_average_every_image_is_shown_its_factor() -> None:
    factors = np.array([1.0, 2.5, 1.2, 3.3])  # a whole sum: nothing is scaled
    counts = [draw_repeats(factors, offset) for offset in np.arange(1000) / 1000]
    assert np.mean(counts, axis=0) == pytest.approx(factors, abs=0.002)


def test_presence_is_that_of_segments_that_are_no_crowds(shapes_root: Path) -> None:
    path = shapes_root / "annotations" / "panoptic_train.json"
    truth = json.loads(path.read_text(encoding="utf-8"))
    rows = {row["image_id"]: row["segments_info"] for row in truth["annotations"]}
    expected = [
        [
            any(s["category_id"] == category["id"] and not s["iscrowd"] for s in rows[image["id"]])
            for category in truth["categories"]
        ]
        for image in truth["images"]
    ]
    annotations = PanopticAnnotations.load(path)
    assert category_presence(annotations).tolist() == expected
    assert category_presence(annotations, [4, 1]).tolist() == [expected[4], expected[1]]


@given(FACTORS, st.integers(0, 9), st.integers(0, 50), st.integers(1, 3))
def test_a_resumed_run_goes_on_with_the_same_images(factors: np.ndarray, seed: int, start: int, world: int) -> None:
    def keys(start: int, count: int, rank: int = 0, world: int = 1) -> list[tuple[int, int]]:
        sampler = StepSampler(len(factors), seed, start, rank, world, factors)
        return list(itertools.islice(sampler, count))

    epoch = epoch_length(factors)
    whole = keys(0, start + 3 * epoch * world)
    assert keys(start, 2 * epoch) == whole[start : start + 2 * epoch]
    assert [position for _, position in whole] == list(range(len(whole)))
    for first in range(0, 2 * epoch, epoch):
        assert {image for image, _ in whole[first : first + epoch]} == set(range(len(factors)))
    for rank in range(world):
        assert keys(start, epoch, rank, world) == whole[start + rank :: world][:epoch]


def test_without_rare_categories_the_order_is_the_old_one() -> None:
    plain, repeated = StepSampler(7, 3), StepSampler(7, 3, repeats=np.ones(7))
    assert list(itertools.islice(plain, 30)) == list(itertools.islice(repeated, 30))
