"""The scenes that are drawn at each validation."""

from __future__ import annotations

import pytest

from panoptic_blend.training.scenes import choose_scenes


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 500, 5000])
def test_scenes_lie_in_the_middle_of_equal_shares(count: int) -> None:
    chosen = choose_scenes(count)
    assert len(set(chosen)) == len(chosen) == min(4, count)
    for index, position in enumerate(chosen):
        assert abs(position + 0.5 - (index + 0.5) * count / len(chosen)) <= 0.5
