from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import DatasetError
from panoptic_blend.files import tiff
from panoptic_blend.files.images import to_colors
from panoptic_blend.files.pictures import open_picture, read_picture
from tests.files.test_deep_png import write_deep_png

SAMPLES = np.random.default_rng(0).integers(0, 256, (9, 7, 5), dtype=np.uint8)


def deepen(samples: np.ndarray) -> np.ndarray:
    """The same levels in 16 bits: 255 becomes 65535."""
    return samples.astype(np.uint16) * 257


def write_tiff(path: Path, samples: np.ndarray, **layout: Any) -> None:
    tifffile = pytest.importorskip("tifffile")
    layout = layout if samples.shape[2] == 1 else {**layout, "planarconfig": "contig"}
    tifffile.imwrite(path, samples[..., 0] if samples.shape[2] == 1 else samples, photometric="minisblack", **layout)


def write_png(path: Path, samples: np.ndarray) -> None:
    if samples.dtype == np.uint8:
        Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples).save(path)
    elif samples.shape[2] == 1:
        Image.fromarray(samples[..., 0]).save(path)
    else:
        write_deep_png(path, samples)


@pytest.mark.parametrize(
    ("kind", "bands"),
    [(".png", 1), (".png", 2), (".png", 3), (".png", 4), (".tif", 1), (".tif", 2), (".tif", 4), (".tif", 5)],
)
@pytest.mark.parametrize("deep", [False, True])
def test_every_band_comes_as_deep_as_the_file_has_it(tmp_path: Path, kind: str, bands: int, deep: bool) -> None:
    path, samples = tmp_path / f"picture{kind}", SAMPLES[..., :bands]
    samples = deepen(samples) if deep else samples
    (write_png if kind == ".png" else write_tiff)(path, samples)
    found = read_picture(path, bands)
    assert found.dtype == samples.dtype
    np.testing.assert_array_equal(found, samples)
    np.testing.assert_array_equal(open_picture(path, bands), samples)


@pytest.mark.parametrize("kind", [".png", ".tif"])
def test_sixteen_bits_are_to_a_model_what_eight_are(tmp_path: Path, kind: str) -> None:
    shallow, deep = tmp_path / f"shallow{kind}", tmp_path / f"deep{kind}"
    write = write_png if kind == ".png" else write_tiff
    write(shallow, SAMPLES[..., :4])
    write(deep, deepen(SAMPLES[..., :4]))
    for bands in (3, 4):
        ours, theirs = (to_tensor(read_picture(path, bands)) for path in (shallow, deep))
        assert theirs.is_floating_point()
        assert (ours == theirs).all()


@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_as_eight_are(tmp_path: Path, orientation: int, bands: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(SAMPLES[..., :bands]).save(tmp_path / "flat.png", exif=exif)
    write_deep_png(tmp_path / "deep.png", deepen(SAMPLES[..., :bands]), exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    flat, deep = read_picture(tmp_path / "flat.png", bands), read_picture(tmp_path / "deep.png", bands)
    assert np.array_equal(deep, deepen(flat))
    assert deep.flags.c_contiguous


@pytest.mark.parametrize("kind", [".png", ".tif"])
def test_what_only_pillow_reads_comes_in_eight_bits(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interlaced PNG without kornia-rs, or a compressed TIFF without imagecodecs; a data set's check passes both."""

    def refuse(*_: object, **__: object) -> None:
        raise DatasetError("not this one")

    path = tmp_path / f"deep{kind}"
    if kind == ".png":
        write_deep_png(path, deepen(SAMPLES[..., :3]))
        monkeypatch.setattr("panoptic_blend.files.pictures.read_deep_png", refuse)
    else:
        Image.fromarray(deepen(SAMPLES)[..., 0]).save(path, compression="tiff_lzw")
        monkeypatch.setattr(tiff.RowsOfTiff, "decode", refuse)
    levels = read_picture(path)
    levels = levels // 257 if levels.dtype == np.uint16 else levels
    assert np.array_equal(levels, SAMPLES[..., :3] if kind == ".png" else np.repeat(SAMPLES[..., :1], 3, axis=2))


@pytest.mark.parametrize("bands", [1, 2, 4, 5])
def test_another_number_of_bands_is_told(tmp_path: Path, bands: int) -> None:
    pytest.importorskip("tifffile")
    Image.fromarray(SAMPLES[..., :3]).save(tmp_path / "rgb.png")
    Image.fromarray(SAMPLES[..., :3]).save(tmp_path / "rgb.jpg")
    write_deep_png(tmp_path / "deep.png", deepen(SAMPLES[..., :3]))
    write_tiff(tmp_path / "rgb.tif", SAMPLES[..., :3])
    for path in sorted(tmp_path.iterdir()):
        for read in (read_picture, open_picture):
            with pytest.raises(DatasetError, match=rf"{path.name}: has 3 bands, but the model reads {bands} \(model"):
                read(path, bands)


def test_a_large_tiff_is_read_by_rows_with_all_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "LARGE", 1)
    write_tiff(tmp_path / "large.tif", deepen(SAMPLES), rowsperstrip=2)
    picture = open_picture(tmp_path / "large.tif", 5)
    assert isinstance(picture, tiff.RowsOfTiff)
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture[2:5, 1:3], deepen(SAMPLES)[2:5, 1:3])
    with pytest.raises(DatasetError, match="has 5 bands, but the model reads 4"):
        open_picture(tmp_path / "large.tif", 4)


def test_a_tiff_that_is_too_large_is_not_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiff(tmp_path / "large.tif", SAMPLES)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9 * 7 // 2)
    with pytest.raises(DatasetError, match=r"too large to decode safely \(7 x 9 pixels\)"):
        read_picture(tmp_path / "large.tif", 5)


def test_without_tifffile_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiff(tmp_path / "bands.tif", SAMPLES)
    there = builtins.__import__

    def lacking(name: str, *others: Any) -> Any:
        if name == "tifffile":
            raise ImportError(name)
        return there(name, *others)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(DatasetError, match=r"bands\.tif: its bands cannot be read\. Run `pip install"):
        read_picture(tmp_path / "bands.tif", 5)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_the_first_three_bands_are_looked_at(bands: int) -> None:
    samples = SAMPLES[..., :bands]
    expected = samples[..., :3] if bands >= 3 else samples[..., :1].repeat(3, axis=2)
    np.testing.assert_array_equal(to_colors(samples), expected)
    np.testing.assert_array_equal(to_colors(deepen(samples)), expected)
