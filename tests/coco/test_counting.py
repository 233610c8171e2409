import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from panoptic_blend.coco.counting import (
    contiguous_labels,
    count_ids,
    count_pairs,
    distinct_ids,
    label_boxes,
    measure_segments,
)
from panoptic_blend.files import on_disk

IDS = st.sampled_from([0, 1, 7, 256, 2**24 - 1])


def maps(count):
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6)
    return shapes.flatmap(lambda shape: st.tuples(*(arrays(np.int32, shape, elements=IDS) for _ in range(count))))


@given(maps(1))
def test_distinct_ids_equals_unique(pair):
    np.testing.assert_array_equal(distinct_ids(pair[0]), np.unique(pair[0]))


@given(maps(2))
def test_count_pairs_equals_unique_of_stacked_pixels(pair):
    first, second, counts = count_pairs(*pair)
    stacked = np.stack([pair[0].ravel(), pair[1].ravel()], axis=1)
    expected, expected_counts = np.unique(stacked, axis=0, return_counts=True)
    np.testing.assert_array_equal(np.stack([first, second], axis=1), expected.reshape(-1, 2))
    np.testing.assert_array_equal(counts, expected_counts)


@given(maps(2), st.lists(st.sets(IDS), min_size=2, max_size=2))
def test_what_is_expected_never_changes_the_count(pair, expected):
    expected = tuple(np.array(sorted(ids), np.int64) for ids in expected)
    for found, counted in zip(count_pairs(*pair, expected), count_pairs(*pair), strict=True):
        np.testing.assert_array_equal(found, counted)
        assert found.dtype == counted.dtype


@given(maps(2))
def test_expected_ids_are_counted_in_a_table(pair):
    expected = tuple(np.array([0, 1, 7, 256, 2**24 - 1]) for _ in range(2))
    for found, counted in zip(count_pairs(*pair, expected), count_pairs(*pair), strict=True):
        np.testing.assert_array_equal(found, counted)


@given(maps(1))
def test_contiguous_labels_index_the_ids(pair):
    ids, labels = contiguous_labels(pair[0])
    np.testing.assert_array_equal(ids, np.unique(pair[0]))
    np.testing.assert_array_equal(ids[labels] if len(ids) else labels, pair[0])
    assert labels.dtype == np.int32


@given(maps(1))
def test_boxes_are_those_of_the_labels_pixels(pair):
    ids, labels = contiguous_labels(pair[0])
    expected = []
    for label in range(len(ids)):
        y, x = np.nonzero(labels == label)
        expected.append([x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1])
    np.testing.assert_array_equal(label_boxes(labels), np.reshape(expected, (-1, 4)))


def test_maps_that_are_not_contiguous_in_memory():
    id_map = np.arange(12, dtype=np.int32).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(distinct_ids(id_map), np.unique(id_map))


@given(maps(1), st.sampled_from([1, 8, 40, 2**25]))
def test_segments_are_measured_strip_by_strip_as_whole(pair, strip):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_disk, "_STRIP", strip)  # bytes: a row, two rows, ..., all
        ids, areas, boxes = measure_segments(pair[0])
    expected_ids, expected_areas = count_ids(pair[0])
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(areas, expected_areas)
    np.testing.assert_array_equal(boxes, label_boxes(contiguous_labels(pair[0])[1]))
