"""What is measured of one image, against pixels counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from panoptic_blend.report.measuring import widest_gap


def test_a_whole_mask_has_no_gap():
    assert widest_gap(np.eye(5, dtype=bool)) == 0  # diagonal neighbours belong together
    assert widest_gap(np.zeros((3, 3), bool)) == 0


@pytest.mark.parametrize(("down", "right", "gap"), [(2, 20, 12), (17, 2, 9), (11, 12, 5)])
def test_the_gap_is_that_between_the_boxes_of_two_parts(down, right, gap):
    mask = np.zeros((40, 40), bool)
    mask[2:8, 2:8] = True
    mask[down : down + 4, right : right + 4] = True
    assert widest_gap(mask) == gap


def test_crumbs_are_no_parts():
    mask = np.zeros((40, 40), bool)
    mask[:10, :10] = True
    mask[-1, -1] = True
    assert widest_gap(mask) == 0
