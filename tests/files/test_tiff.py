from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.errors import DatasetError
from panoptic_blend.files import tiff
from panoptic_blend.files.images import check_image, read_rgb
from panoptic_blend.files.pictures import open_picture, read_picture
from panoptic_blend.files.tiff import RowsOfTiff

tifffile = pytest.importorskip("tifffile")

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"rowsperstrip": 16},
    {"rowsperstrip": 7, "compression": "zlib"},
    {"rowsperstrip": 7, "compression": "lzw", "predictor": True},
    {"tile": (32, 48), "compression": "zlib"},
    {"tile": (32, 48), "bigtiff": True},
    {"rowsperstrip": 9, "compression": "zlib", "byteorder": ">"},
    {"planarconfig": "separate", "rowsperstrip": 11, "compression": "zlib"},
    {"planarconfig": "separate"},
]


@pytest.fixture(autouse=True)
def every_tiff_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "LARGE", 1)


def write(path: Path, channels: int, dtype: str = "uint8", **layout: Any) -> np.ndarray:
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (101, 77, channels), dtype=dtype)
    separate = layout.get("planarconfig") == "separate"
    written = samples.transpose(2, 0, 1) if separate else samples
    photometric = "rgb" if channels >= 3 else "minisblack"
    tifffile.imwrite(path, written[..., 0] if channels == 1 else written, photometric=photometric, **layout)
    return samples


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_what_the_whole_picture_has(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = tmp_path / "picture.tif"
    expected = write(path, 3, **layout)
    picture = open_picture(path)
    assert isinstance(picture, RowsOfTiff)
    assert picture.shape == expected.shape
    assert picture.size == expected.size
    for rows in (slice(0, 40), slice(24, 64), slice(60, 101), slice(10, 20), slice(0, 101), slice(3, 90, 5)):
        for columns in (slice(0, 77), slice(30, 50), slice(None, None, 4)):
            np.testing.assert_array_equal(picture[rows, columns], expected[rows, columns])
    np.testing.assert_array_equal(np.asarray(open_picture(path)), expected)


@given(st.lists(st.tuples(st.integers(0, 101), st.integers(0, 101)), min_size=1, max_size=6))
def test_slices_in_any_order(tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.getbasetemp() / "any_order.tif"
    expected = write(path, 3, rowsperstrip=7, compression="zlib")
    picture = open_picture(path)
    for start, stop in places:
        np.testing.assert_array_equal(picture[start:stop, :], expected[start:stop])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_samples_are_read_as_when_they_are_decoded_whole(tmp_path: Path, channels: int, dtype: str) -> None:
    path = tmp_path / "picture.tif"
    samples = write(path, channels, dtype, rowsperstrip=13, compression="zlib")
    picture = open_picture(path)
    assert isinstance(picture, RowsOfTiff)
    expected = samples[..., :3] if channels > 1 else samples.repeat(3, axis=2)
    np.testing.assert_array_equal(np.asarray(picture), expected)
    np.testing.assert_array_equal(read_picture(path), expected)
    np.testing.assert_array_equal(read_rgb(path), expected >> 8 if dtype == "uint16" else expected)
    assert check_image(path) == (101, 77)


def test_what_rows_do_not_give_is_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.tif"
    samples = write(path, 1, rowsperstrip=13)
    tifffile.imwrite(path, samples[..., 0], photometric="miniswhite")
    assert isinstance(open_picture(path), np.ndarray)
    write(path, 3, compression="zlib", rowsperstrip=101)
    monkeypatch.setattr(tiff, "_LARGEST_PART", 100)  # one compressed strip
    np.testing.assert_array_equal(open_picture(path), read_rgb(path))


def test_a_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    write(path, 3, rowsperstrip=7, compression="zlib")
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        last = file.pages.first.dataoffsets[-1]
    path.write_bytes(whole[:last] + b"\0" * (len(whole) - last))
    with pytest.raises(DatasetError, match=r"picture\.tif: cannot be decoded"):
        np.asarray(open_picture(path))
    path.write_bytes(whole[:last])  # where a strip begins
    with pytest.raises(DatasetError, match=r"picture\.tif: cannot be decoded"):
        np.asarray(open_picture(path))
    path.write_bytes(b"II*\0 nothing")
    with pytest.raises(DatasetError, match=r"picture\.tif"):
        open_picture(path)
    with pytest.raises(DatasetError, match="no such image"):
        open_picture(tmp_path / "none.tif")
