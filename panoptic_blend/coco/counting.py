"""Ids of maps and how often they meet, counted over runs of equal pixels.

Neighbouring pixels of an id map are mostly equal, so sorting runs instead of pixels is many times faster than
`np.unique` over the whole map.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from panoptic_blend.files.on_disk import strips
from panoptic_blend.structures import IdMap

Int64s = npt.NDArray[np.int64]

_LARGEST_TABLE = 2**20
"""Pairs of expected ids, beyond which a table of their counts is no faster than sorting."""


def distinct_ids(id_map: IdMap) -> Int64s:
    """Ids in a map [H, W], ascending."""
    flat = id_map.ravel()
    return np.unique(np.append(flat[:1], flat[1:][flat[1:] != flat[:-1]])).astype(np.int64)


def count_ids(id_map: IdMap) -> tuple[Int64s, Int64s]:
    """Ids in a map [H, W], ascending, and how many pixels each has."""
    flat = id_map.ravel()
    starts, lengths = _runs(flat[1:] != flat[:-1], flat.size)
    return _sum_by_key(flat[starts].astype(np.int64), lengths)


def count_pairs(
    first: IdMap, second: IdMap, expected: tuple[Int64s, Int64s] | None = None
) -> tuple[Int64s, Int64s, Int64s]:
    """How often every pair of ids falls on the same pixel of two maps of equal size.

    Args:
        expected: ids that the first and the second map should hold, ascending. While they hold no others, pairs are
            counted in a table, which is faster than sorting them.

    Returns:
        ids of `first` [N], ids of `second` [N] and pixel counts [N], ascending by the pair.
    """
    a, b = first.ravel(), second.ravel()
    changes = a[1:] != a[:-1]
    changes |= b[1:] != b[:-1]
    starts, lengths = _runs(changes, a.size)
    a, b = a[starts], b[starts]
    if expected is not None and len(expected[0]) * len(expected[1]) <= _LARGEST_TABLE:
        rows, columns = (_positions(values, ids) for values, ids in zip((a, b), expected, strict=True))
        if rows is not None and columns is not None:
            width = len(expected[1])
            counts = np.bincount(rows * width + columns, weights=lengths)  # floats, exact below 2^53
            pairs = np.flatnonzero(counts)
            return expected[0][pairs // width], expected[1][pairs % width], counts[pairs].astype(np.int64)
    pairs, counts = _sum_by_key((a.astype(np.int64) << 32) | b.astype(np.int64), lengths)
    return pairs >> 32, pairs & 0xFFFFFFFF, counts


def contiguous_labels(id_map: npt.NDArray[np.integer]) -> tuple[Int64s, IdMap]:
    """Replace ids by their rank among the ids of the map.

    Returns:
        ids [N] ascending, and an int32 [H, W] map of positions in that list.
    """
    flat = id_map.ravel()
    starts, lengths = _runs(flat[1:] != flat[:-1], flat.size)
    ids, ranks = np.unique(flat[starts], return_inverse=True)
    return ids.astype(np.int64), np.repeat(ranks.astype(np.int32), lengths).reshape(id_map.shape)


def measure_segments(id_map: IdMap) -> tuple[Int64s, Int64s, Int64s]:
    """Areas of and boxes around all ids of a map [H, W], which may be larger than memory (see `files.on_disk`).

    Returns:
        ids [N] ascending, pixels [N], and boxes [N, 4] as x, y, width, height.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.int64))]
    for rows in strips(id_map):
        ids, labels = contiguous_labels(id_map[rows])
        boxes = label_boxes(labels)
        boxes[:, 1] += rows.start
        found.append((ids, np.bincount(labels.ravel(), minlength=len(ids)), boxes))
    all_ids, areas, boxes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    ids, places = np.unique(all_ids, return_inverse=True)
    if len(found) == 2 or not len(ids):
        return all_ids, areas, boxes
    total = np.zeros(len(ids), np.int64)
    np.add.at(total, places, areas)
    start, stop = np.full((len(ids), 2), np.iinfo(np.int64).max), np.zeros((len(ids), 2), np.int64)
    np.minimum.at(start, places, boxes[:, :2])
    np.maximum.at(stop, places, boxes[:, :2] + boxes[:, 2:])
    return ids, total, np.concatenate([start, stop - start], axis=1)


def label_boxes(labels: IdMap) -> Int64s:
    """The box around each of the labels 0..N-1 of a map [H, W]; every one of them has pixels.

    Several times as fast as `scipy.ndimage.find_objects`, whose import alone takes longer than writing a prediction.

    Returns:
        [N, 4] x, y, width, height.
    """
    if not labels.size:
        return np.zeros((0, 4), np.int64)
    flat, row = labels.ravel(), labels.shape[1]
    changes = flat[1:] != flat[:-1]
    changes[row - 1 :: row] = True  # a run ends with its row
    starts, lengths = _runs(changes, flat.size)
    order = np.argsort(flat[starts], kind="stable")
    starts, lengths, keys = starts[order], lengths[order], flat[starts][order]
    firsts = np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1))
    y, x = np.divmod(starts, row)
    left, right = np.minimum.reduceat(x, firsts), np.maximum.reduceat(x + lengths, firsts)
    top, bottom = y[firsts], y[np.append(firsts[1:], len(y)) - 1] + 1  # the order of rows is kept
    return np.stack([left, top, right - left, bottom - top], axis=1)


def _runs(changes: npt.NDArray[np.bool_], size: int) -> tuple[Int64s, Int64s]:
    """Start and length of every run, given where pixel i + 1 differs from pixel i."""
    if size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    return starts, np.diff(starts, append=size)


def _positions(values: IdMap, ids: Int64s) -> Int64s | None:
    """Where each value stands among some ids; None when it is not always there."""
    if not len(ids):
        return None
    found = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    return found if np.array_equal(ids[found], values) else None


def _sum_by_key(keys: Int64s, lengths: Int64s) -> tuple[Int64s, Int64s]:
    # Stable sorting of integers profits from the order that is already there.
    order = np.argsort(keys, kind="stable")
    keys, lengths = keys[order], lengths[order]
    if keys.size == 0:
        return keys, lengths
    firsts = np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1))
    return keys[firsts], np.add.reduceat(lengths, firsts)
