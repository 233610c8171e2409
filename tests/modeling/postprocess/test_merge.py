from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.categories import Categories
from panoptic_blend.modeling.postprocess.merge import Placement, merge, place_instances
from panoptic_blend.structures import Instances, Segment

CATEGORIES = Categories.from_json(
    [
        {"id": 7, "name": "road", "isthing": 0},
        {"id": 3, "name": "car", "isthing": 1},
        {"id": 9, "name": "sky", "isthing": 0},
        {"id": 5, "name": "person", "isthing": 1},
    ]
)
SIZE = (24, 30)


def merge_with_full_masks(
    instances: Instances, semantic: torch.Tensor, min_score: float, max_overlap: float, min_area: int
) -> tuple[np.ndarray, list[Segment]]:
    """The heuristic as it is told: whole-image masks, best score first, stuff into the gaps."""
    id_map = np.zeros(SIZE, np.int32)
    segments: list[Segment] = []
    masks = instances.masks.numpy()
    for n in sorted(range(len(instances)), key=lambda i: -instances.scores[i].item()):
        score, mask = instances.scores[n].item(), masks[n]
        if score < min_score or not mask.any():
            continue
        taken = mask & (id_map > 0)
        visible = mask & (id_map == 0)
        if taken.sum() / mask.sum() > max_overlap or not visible.any():
            continue
        id_map[visible] = len(segments) + 1
        category = CATEGORIES.things[int(instances.labels[n])]
        segments.append(Segment(len(segments) + 1, category.id, True, score, int(visible.sum())))
    for label in (1, 2):
        mask = (semantic.numpy() == label) & (id_map == 0)
        if mask.any() and mask.sum() >= min_area:
            id_map[mask] = len(segments) + 1
            segments.append(Segment(len(segments) + 1, CATEGORIES.stuff[label - 1].id, False, 1.0, int(mask.sum())))
    return id_map, segments


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Instances, torch.Tensor]:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    count = draw(st.integers(0, 8))
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([SIZE[1] - 4.0, SIZE[0] - 4.0])
    far = torch.minimum(corner + 1 + torch.rand(count, 2, generator=generator) * 20, torch.tensor([30.0, 24.0]))
    instances = Instances(
        torch.cat([corner, far], dim=1),
        torch.rand(count, generator=generator),
        torch.randint(0, 2, (count,), generator=generator),
        torch.rand(count, 5, 5, generator=generator) * draw(st.sampled_from([0.6, 1.0, 3.0])),
        SIZE,
    )
    coarse = torch.randint(0, 3, (4, 5), generator=generator)
    return instances, coarse.repeat_interleave(6, 0).repeat_interleave(6, 1).to(torch.uint8)


@settings(deadline=None)
@given(scenes(), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0, 40, 200]))
def test_merge_inside_boxes_equals_merge_of_full_masks(
    scene: tuple[Instances, torch.Tensor], overlap: float, area: int
) -> None:
    id_map, segments = merge(*scene, CATEGORIES, 0.25, overlap, area)
    expected_map, expected_segments = merge_with_full_masks(*scene, 0.25, overlap, area)
    assert id_map.dtype == np.int32
    np.testing.assert_array_equal(id_map, expected_map)
    assert segments == expected_segments


@settings(deadline=None)
@given(scenes())
def test_segments_describe_the_map_exactly(scene: tuple[Instances, torch.Tensor]) -> None:
    id_map, segments = merge(*scene, CATEGORIES, 0.2, 0.5, 30)
    ids, areas = np.unique(id_map[id_map > 0], return_counts=True)
    assert dict(zip(ids.tolist(), areas.tolist(), strict=True)) == {s.id: s.area for s in segments}


def test_an_instance_half_hidden_behind_a_better_one_is_dropped() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 20.0]])
    instances = Instances(boxes, torch.tensor([0.6, 0.9]), torch.tensor([0, 1]), torch.ones(2, 8, 8), SIZE)
    _, segments = merge(instances, torch.zeros(SIZE, dtype=torch.uint8), CATEGORIES)
    assert [s.category_id for s in segments] == [5]
    assert segments[0].score == pytest.approx(0.9)


@pytest.mark.parametrize(("least", "stuff"), [(24 * 5, [7]), (24 * 5 + 1, [])])
def test_stuff_of_exactly_the_smallest_area_stays(least: int, stuff: list[int]) -> None:
    empty = Instances(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5, 5), SIZE)
    semantic = torch.zeros(SIZE, dtype=torch.uint8)
    semantic[:, :5] = 1
    _, segments = merge(empty, semantic, CATEGORIES, min_stuff_area=least)
    assert [segment.category_id for segment in segments] == stuff


def test_nothing_at_all_is_an_empty_map() -> None:
    empty = Instances(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 5, 5), SIZE)
    id_map, segments = merge(empty, torch.zeros(SIZE, dtype=torch.uint8), CATEGORIES)
    assert not id_map.any()
    assert segments == []


def test_placements_tell_why_an_instance_is_missing() -> None:
    boxes = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [0.0, 6.0, 10.0, 16.0], [0.0, 2.0, 10.0, 12.0], [20.0, 0.0, 24.0, 4.0]]
    )
    scores = torch.tensor([0.9, 0.7, 0.8, 0.3])
    instances = Instances(boxes, scores, torch.zeros(4, dtype=torch.int64), torch.ones(4, 5, 5), SIZE)
    id_map, placements = place_instances(instances, min_score=0.5, max_overlap=0.5)
    assert placements == [Placement(0, 1, 100, 100), Placement(2, 0, 100, 20), Placement(1, 2, 100, 60)]
    assert id_map.unique(return_counts=True)[1].tolist() == [24 * 30 - 160, 100, 60]
