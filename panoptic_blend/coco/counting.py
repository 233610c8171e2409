"""Ids of maps and how often they meet, counted over runs of equal pixels.

Neighbouring pixels of an id map are mostly equal, so sorting runs instead of pixels is many times faster than
`np.unique` over the whole map.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import IdMap

Int64s = npt.NDArray[np.int64]


def distinct_ids(id_map: IdMap) -> Int64s:
    """Ids in a map [H, W], ascending."""
    flat = id_map.ravel()
    return np.unique(np.append(flat[:1], flat[1:][flat[1:] != flat[:-1]])).astype(np.int64)


def count_pairs(first: IdMap, second: IdMap) -> tuple[Int64s, Int64s, Int64s]:
    """How often every pair of ids falls on the same pixel of two maps of equal size.

    Returns:
        ids of `first` [N], ids of `second` [N] and pixel counts [N], ascending by the pair.
    """
    a, b = first.ravel(), second.ravel()
    starts, lengths = _runs((a[1:] != a[:-1]) | (b[1:] != b[:-1]), a.size)
    keys = (a[starts].astype(np.int64) << 32) | b[starts].astype(np.int64)
    pairs, counts = _sum_by_key(keys, lengths)
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


def _runs(changes: npt.NDArray[np.bool_], size: int) -> tuple[Int64s, Int64s]:
    """Start and length of every run, given where pixel i + 1 differs from pixel i."""
    if size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    return starts, np.diff(starts, append=size)


def _sum_by_key(keys: Int64s, lengths: Int64s) -> tuple[Int64s, Int64s]:
    # Stable sorting of integers profits from the order that is already there.
    order = np.argsort(keys, kind="stable")
    keys, lengths = keys[order], lengths[order]
    if keys.size == 0:
        return keys, lengths
    firsts = np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1))
    return keys[firsts], np.add.reduceat(lengths, firsts)
