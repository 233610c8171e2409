from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from panoptic_blend.categories import IGNORE, Categories, Category
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.data.targets import derive_targets, index_segments
from panoptic_blend.structures import IdMap, Targets

CATEGORIES = Categories(
    [
        Category(7, "road", False, (0, 0, 0)),
        Category(3, "car", True, (0, 0, 0)),
        Category(90, "sky", False, (0, 0, 0)),
        Category(1, "dog", True, (0, 0, 0)),
    ]
)
IDS = [1, 2, 255, 256, 65536, 256**3 - 1]


def segment(segment_id: int, category_id: int, is_crowd: bool = False) -> SegmentRecord:
    return SegmentRecord(segment_id, category_id, is_crowd, area=-1, bbox=(0, 0, 0, 0))


def targets_one_by_one(id_map: IdMap, segments: list[SegmentRecord]) -> Targets:
    semantic = torch.full(id_map.shape, IGNORE)
    boxes, labels, masks = [], [], []
    for row in sorted(segments, key=lambda row: row.id):
        mask = torch.from_numpy(id_map == row.id)
        if row.is_crowd or not mask.any():
            continue
        semantic[mask] = {7: 1, 90: 2}.get(row.category_id, 0)
        if row.category_id in (3, 1):
            y, x = torch.where(mask)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
            labels.append([3, 1].index(row.category_id))
            masks.append(mask)
    return Targets.from_masks(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.stack(masks) if masks else torch.zeros((0, *id_map.shape), dtype=torch.bool),
        semantic,
    )


@st.composite
def annotated_maps(draw: st.DrawFn) -> tuple[IdMap, list[SegmentRecord]]:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    id_map = draw(arrays.arrays(np.int32, shape, elements=st.sampled_from([0, *IDS])))
    listed = draw(st.lists(st.sampled_from(IDS), unique=True))
    rows = [segment(i, draw(st.sampled_from([7, 3, 90, 1])), draw(st.booleans())) for i in listed]
    return id_map, rows


@given(annotated_maps())
def test_targets_equal_a_look_at_every_segment_alone(case: tuple[IdMap, list[SegmentRecord]]) -> None:
    id_map, rows = case
    expected, found = targets_one_by_one(id_map, rows), derive_targets(id_map, rows, CATEGORIES)
    for name in ("boxes", "labels", "masks", "semantic"):
        want, have = getattr(expected, name), getattr(found, name)
        assert have.dtype == want.dtype
        assert torch.equal(have, want), name


def test_more_segments_than_a_byte_counts() -> None:
    id_map = np.arange(1, 401, dtype=np.int32).reshape(20, 20) * 1000
    rows = [segment(int(i), 1) for i in id_map.ravel()]
    targets = derive_targets(id_map, rows, CATEGORIES)
    assert torch.equal(targets.masks.flatten(1), torch.eye(400, dtype=torch.bool))
    assert targets.instance_map.shape == (1, 20, 20)  # whatever the number of instances


def test_ranks_name_the_segments_in_ascending_order() -> None:
    id_map = np.array([[9, 4, 0, 5]], dtype=np.int32)
    indices, ordered = index_segments(id_map, [segment(9, 1), segment(4, 7)])
    assert indices.tolist() == [[2, 1, 0, 0]]
    assert [row.id for row in ordered] == [4, 9]
