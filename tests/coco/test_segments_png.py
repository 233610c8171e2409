import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from panoptic_blend.coco import segments_png
from panoptic_blend.coco.segments_png import MAX_ID, ids_to_rgb, read_id_map, rgb_to_ids, write_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files import on_disk


@given(arrays(np.int32, (3, 5), elements=st.integers(0, MAX_ID)))
def test_ids_are_little_endian_rgb_and_come_back(id_map):
    rgb = ids_to_rgb(id_map)
    assert rgb.dtype == np.uint8
    for y, x in np.ndindex(3, 5):
        red, green, blue = (int(v) for v in rgb[y, x])
        assert red + 256 * green + 65536 * blue == id_map[y, x]
    np.testing.assert_array_equal(rgb_to_ids(rgb), id_map)
    assert rgb_to_ids(rgb).dtype == np.int32


def test_file_round_trip_leaves_nothing_else(tmp_path):
    id_map = np.array([[0, MAX_ID], [256, 65536]], np.int32)
    write_id_map(tmp_path / "new folder" / "ü.png", id_map)
    np.testing.assert_array_equal(read_id_map(tmp_path / "new folder" / "ü.png"), id_map)
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["ü.png"]


@pytest.mark.parametrize("bad", [-1, MAX_ID + 1])
def test_ids_that_three_bytes_cannot_hold_are_refused(bad, tmp_path):
    with pytest.raises(DatasetError, match=r"0\.\.16777215"):
        write_id_map(tmp_path / "a.png", np.array([[bad]]))
    assert not (tmp_path / "a.png").exists()


@given(arrays(np.int32, (3, 5), elements=st.integers(0, MAX_ID)), st.integers(0, 255), st.sampled_from([1, 2, 4, 8]))
def test_ids_are_read_from_rgba_and_from_palettes(tmp_path_factory, id_map, alpha, bits):
    folder = tmp_path_factory.mktemp("modes")
    Image.fromarray(np.dstack([ids_to_rgb(id_map), np.full((3, 5), alpha, np.uint8)])).save(folder / "rgba.png")
    np.testing.assert_array_equal(read_id_map(folder / "rgba.png"), id_map)

    values, indices = np.unique(id_map, return_inverse=True)
    indices = np.minimum(indices.reshape(3, 5), 2**bits - 1).astype(np.uint8)
    palette = Image.fromarray(indices, "P")
    palette.putpalette(ids_to_rgb(values[None]).tobytes())
    palette.save(folder / "palette.png", bits=bits, transparency=bytes([alpha]))
    np.testing.assert_array_equal(read_id_map(folder / "palette.png"), values[indices])


def test_a_map_too_large_to_decode_gets_other_advice_than_a_damaged_one(tmp_path, monkeypatch):
    write_id_map(tmp_path / "a.png", np.zeros((30, 40), np.int32))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # an error from twice as many
    with pytest.raises(DatasetError, match=r"a\.png: too large to decode safely .*1200 pixels.*scale both down"):
        read_id_map(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_other_png_modes_are_refused_by_name(mode, tmp_path):
    path = tmp_path / "a.png"
    (Image.new("I;16", (4, 3)) if mode == "I;16" else Image.new("L", (4, 3)).convert(mode)).save(path)
    with pytest.raises(DatasetError, match=r"a\.png: is \d+-bit .*\. Id maps are 8-bit RGB"):
        read_id_map(path)


def test_16_bit_rgb_is_refused(tmp_path):
    # Pillow cannot write one; this is the header of a real one, which is as far as reading may go.
    path = tmp_path / "deep.png"
    write_id_map(path, np.zeros((2, 2), np.int32))
    data = bytearray(path.read_bytes())
    data[24] = 16
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="is 16-bit RGB"):
        read_id_map(path)


def test_jpeg_under_a_png_name_and_missing_files_are_refused(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(DatasetError, match=r"a\.png: not a PNG file"):
        read_id_map(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"b\.png: no such file"):
        read_id_map(tmp_path / "b.png")
    with pytest.raises(DatasetError):
        read_id_map(tmp_path)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), st.integers(0, 400))
def test_damaged_files_never_raise_anything_else(tmp_path_factory, changes, length):
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    write_id_map(path, np.random.default_rng(0).integers(0, MAX_ID, (10, 12)).astype(np.int32))
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    path.write_bytes(data[:length] if length < 300 else data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # Either some map comes out, or a DatasetError that names the file; anything else fails the test.
        try:
            shape = read_id_map(path).shape
        except DatasetError as refused:
            shape = None
            message = str(refused)
    assert shape is not None or str(path) in message


@pytest.fixture
def pillow_alone(monkeypatch):
    monkeypatch.setattr(segments_png, "_fast_decoder", lambda: None)


def test_pillow_reads_what_the_fast_decoder_reads(tmp_path, pillow_alone):
    id_map = np.random.default_rng(0).integers(0, MAX_ID, (10, 12)).astype(np.int32)
    write_id_map(tmp_path / "a.png", id_map)
    np.testing.assert_array_equal(read_id_map(tmp_path / "a.png"), id_map)


def test_the_fast_decoder_takes_plain_files_only(tmp_path):
    pytest.importorskip("kornia_rs")
    id_map = np.random.default_rng(0).integers(0, MAX_ID, (10, 12)).astype(np.int32)
    write_id_map(tmp_path / "a.png", id_map)
    data = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(segments_png._decode_fast(data), ids_to_rgb(id_map))
    assert segments_png._decode_fast(data[:-1]) is None  # Pillow says that it is cut off
    assert segments_png._decode_fast(data[:60] + b"!" + data[61:]) is None
    Image.fromarray(ids_to_rgb(id_map)).convert("RGBA").save(tmp_path / "b.png")
    assert segments_png._decode_fast((tmp_path / "b.png").read_bytes()) is None


def test_damage_is_told_in_the_same_words_with_and_without_the_fast_decoder(tmp_path, monkeypatch):
    pytest.importorskip("kornia_rs")
    path = tmp_path / "a.png"
    write_id_map(path, np.random.default_rng(0).integers(0, MAX_ID, (10, 12)).astype(np.int32))
    whole = path.read_bytes()

    def outcome():
        try:
            return read_id_map(path).tolist()
        except DatasetError as refused:
            return str(refused)

    damaged = [whole[:-5], whole[:-30], whole[:200], whole[:100] + b"\0\0\0" + whole[103:]]
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        with_it = outcome()
        with monkeypatch.context() as without:
            without.setattr(segments_png, "_fast_decoder", lambda: None)
            assert outcome() == with_it
        refused += isinstance(with_it, str)
    assert refused >= 3


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(0, 4), (1, 1), (2, 3)])
def test_any_layout_in_memory_becomes_ids(size, channels):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, channels)).astype(np.uint8)
    expected = rgb[..., :3].astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    np.testing.assert_array_equal(rgb_to_ids(rgb), expected)
    np.testing.assert_array_equal(rgb_to_ids(np.asfortranarray(rgb)), expected)
    np.testing.assert_array_equal(rgb_to_ids(rgb[::-1, ::-1]), expected[::-1, ::-1])


@pytest.mark.parametrize("strip", [1, 100, 2**25])
def test_an_id_map_is_written_strip_by_strip(tmp_path, monkeypatch, strip):
    monkeypatch.setattr(on_disk, "_STRIP", strip)
    id_map = np.random.default_rng(0).integers(0, MAX_ID + 1, (37, 23)).astype(np.int32)
    write_id_map(tmp_path / "ids.png", id_map)
    with Image.open(tmp_path / "ids.png") as image:
        assert image.mode == "RGB"
        pixels = np.asarray(image).astype(np.int64)
    np.testing.assert_array_equal(pixels @ [1, 256, 65536], id_map)
    with pytest.raises(DatasetError, match="ids run from"):
        write_id_map(tmp_path / "ids.png", id_map - 2**30)
    np.testing.assert_array_equal(read_id_map(tmp_path / "ids.png"), id_map)  # the older file stays whole
