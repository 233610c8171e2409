from __future__ import annotations

import errno
import mmap
import tempfile

import numpy as np
import pytest

from panoptic_blend.errors import ResourceError
from panoptic_blend.files import on_disk
from panoptic_blend.files.on_disk import large_zeros, leave_memory, strips


@pytest.mark.parametrize("large", [1, 10**9])
def test_values_stay_wherever_they_are(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "LARGE", large)
    array = large_zeros((1000, 30), np.int32)
    assert isinstance(array.base, mmap.mmap) == (large == 1)
    assert not array.any()
    expected = np.arange(30000).reshape(1000, 30)
    for rows in strips(array, 7):
        array[rows] = expected[rows]
    leave_memory(array)
    np.testing.assert_array_equal(array, expected)
    assert sum(array[rows].sum() for rows in strips(array)) == expected.sum()


def test_a_full_disk_is_told_before_it_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(on_disk, "LARGE", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(ResourceError, match="Let TMPDIR name a folder"):
        large_zeros((10, 10), np.uint8)
