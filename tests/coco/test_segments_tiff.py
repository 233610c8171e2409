from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.coco.segments_tiff import TILE, tiff_path, write_id_tiff
from panoptic_blend.files.on_disk import LARGE, large_zeros

tifffile = pytest.importorskip("tifffile")


@pytest.mark.parametrize("size", [(1, 1), (TILE, TILE), (TILE + 1, 3 * TILE - 1), (700, 300)])
def test_a_tiff_has_the_ids(tmp_path: Path, size: tuple[int, int]):
    ids = np.random.default_rng(0).integers(0, 2**31 - 1, size, dtype=np.int32)
    write_id_tiff(tmp_path / "a" / "ids.tif", ids)
    found = tifffile.imread(tmp_path / "a" / "ids.tif")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, ids)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["ids.tif"]


def test_a_tiff_is_named_as_the_png(tmp_path: Path):
    assert tiff_path(tmp_path, "a/b.png") == tmp_path / "tiffs" / "a" / "b.tif"


def test_a_large_map_is_written_by_a_row_of_tiles(tmp_path: Path):
    id_map = large_zeros((LARGE // 4 // 8192, 8192), np.int32)
    id_map[1000:2000, 3000:7000] = 2**24 - 1
    tracemalloc.start()
    try:
        write_id_tiff(tmp_path / "ids.tif", id_map)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LARGE / 8
    with tifffile.TiffFile(tmp_path / "ids.tif") as file:
        assert file.pages.first.shape == id_map.shape
        assert file.pages.first.asarray()[1500, 3000] == 2**24 - 1
