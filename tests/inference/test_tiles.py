from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.errors import ConfigError
from panoptic_blend.inference.tiles import GRID, check_tiles, cut

sizes = st.sampled_from([(64, 8), (64, 16), (96, 32), (128, 40)])


@given(length=st.integers(1, 1000), size=sizes)
def test_tiles_cover_every_pixel_and_share_what_is_asked(length: int, size: tuple[int, int]) -> None:
    tile, overlap = size
    spans = cut(length, tile, overlap)
    assert (spans[0].start, spans[-1].stop) == (0, length)
    lengths = [span.stop - span.start for span in spans]
    assert max(lengths) <= tile
    assert max(lengths) - min(lengths) <= 2 * GRID
    assert len(spans) == 1 or max(lengths) >= min(tile, 2 * length // (len(spans) + 1)) - 32
    assert (len(spans) - 1) * (tile - overlap) + overlap < length or len(spans) == 1  # as few as there can be
    assert all(span.start % GRID == 0 for span in spans)
    assert (len(spans) == 1) == (length <= tile)
    for before, after in pairwise(spans):
        assert before.stop - after.start >= overlap
        assert (before.free_stop, after.free_start) == (after.start, before.stop)
    for before, after in zip(spans[:-2], spans[2:], strict=True):
        assert before.stop <= after.start  # no place lies in three tiles of a row


@given(length=st.integers(1, 1000), size=sizes)
def test_every_pixel_is_in_one_core_and_weights_add_up_to_one(length: int, size: tuple[int, int]) -> None:
    spans = cut(length, *size)
    cores = [place for span in spans for place in range(span.core_start, span.core_stop)]
    assert cores == list(range(length))
    total = np.zeros(-(-length // GRID))
    for span in spans:
        total[span.cells] += span.weights()
    np.testing.assert_allclose(total, 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("tile", "overlap", "named"),
    [(100, 8, "tile 100"), (32, 8, "tile 32"), (64, 0, "overlap 0"), (64, 24, "overlap 24")],
)
def test_sizes_that_make_no_tiling_are_refused(tile: int, overlap: int, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_tiles(tile, overlap)
