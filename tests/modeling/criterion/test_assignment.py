from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.modeling.criterion import assignment
from panoptic_blend.modeling.criterion.assignment import assign, centerness
from panoptic_blend.modeling.network.locations import Locations, locate

SIZES = (16.0, 32.0)


def pyramid() -> Locations:
    return locate([torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)], [8, 16, 32])


def assign_one_by_one(locations: Locations, boxes: list[list[float]], radius: float) -> list[int]:
    """For each location, walk through the boxes and keep the smallest that claims it."""
    bounds = [-1.0, *SIZES, math.inf]
    matches = []
    for (x, y), stride, level in zip(
        locations.centers.tolist(), locations.strides.tolist(), locations.level.tolist(), strict=True
    ):
        best, best_area = -1, math.inf
        for index, (x1, y1, x2, y2) in enumerate(boxes):
            longest = max(x - x1, y - y1, x2 - x, y2 - y)
            center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
            central = abs(x - center_x) < radius * stride and abs(y - center_y) < radius * stride
            inside = x1 < x < x2 and y1 < y < y2
            area = (x2 - x1) * (y2 - y1)
            if central and inside and bounds[level] <= longest <= bounds[level + 1] and area < best_area:
                best, best_area = index, area
        matches.append(best)
    return matches


coordinate = st.integers(0, 64)


corner = st.tuples(coordinate, coordinate, st.integers(1, 60), st.integers(1, 60))


@settings(deadline=None)
@given(st.lists(corner, max_size=6), st.lists(st.integers(0, 5), max_size=4), st.sampled_from([1, 200, 1 << 20]))
def test_assignment_equals_walking_through_all_boxes(
    corners: list[tuple[int, int, int, int]], again: list[int], pairs_at_once: int
) -> None:
    boxes = [[float(x), float(y), float(x + w), float(y + h)] for x, y, w, h in corners]
    boxes += [boxes[index] for index in again if index < len(boxes)]  # equal boxes, of which the first counts
    locations = pyramid()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(assignment, "_PAIRS_AT_ONCE", pairs_at_once)
        matched, distances = assign(locations, torch.tensor(boxes).reshape(-1, 4), SIZES, 1.5)
    assert matched.tolist() == assign_one_by_one(locations, boxes, 1.5)
    for cell in (matched >= 0).nonzero().flatten().tolist():
        x, y = locations.centers[cell].tolist()
        x1, y1, x2, y2 = boxes[matched[cell]]
        expected = [d / locations.strides[cell].item() for d in (x - x1, y - y1, x2 - x, y2 - y)]
        assert distances[cell].tolist() == pytest.approx(expected)


def test_centerness_falls_from_one_at_the_centre_to_zero_at_the_border() -> None:
    distances = torch.tensor([[5.0, 3.0, 5.0, 3.0], [0.0, 3.0, 10.0, 3.0], [2.0, 1.0, 8.0, 4.0]])
    assert centerness(distances).tolist() == pytest.approx([1.0, 0.0, math.sqrt(2 / 8 * 1 / 4)])
