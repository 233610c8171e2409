import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from panoptic_blend.files.columns import read_columns, write_columns

DTYPES = st.sampled_from([np.bool_, np.uint8, np.int32, np.int64, np.float32, ">i4"])
COLUMNS = st.dictionaries(
    st.text(max_size=5), DTYPES.flatmap(lambda d: arrays(d, array_shapes(max_dims=2, min_side=0, max_side=9)))
)


@given(COLUMNS)
def test_columns_come_back_as_they_were(tmp_path_factory, columns):
    path = tmp_path_factory.mktemp("columns") / "a"
    write_columns(path, columns, {"note": "ü"})
    found, about = read_columns(path)
    assert about == {"note": "ü"}
    assert list(found) == list(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
        assert not found[name].flags.writeable
    assert [p.name for p in path.parent.iterdir()] == ["a"]


def test_arrays_that_are_not_contiguous(tmp_path):
    values = np.arange(24, dtype=np.int32).reshape(4, 6).T[::2]
    write_columns(tmp_path / "a", {"a": values}, {})
    np.testing.assert_array_equal(read_columns(tmp_path / "a")[0]["a"], values)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4), st.integers(0, 500))
def test_a_file_that_is_not_whole_is_none(tmp_path_factory, changes, length):
    path = tmp_path_factory.mktemp("columns") / "a"
    write_columns(path, {"a": np.arange(20), "b": np.zeros((2, 3), np.bool_)}, {"note": 1})
    data = bytearray(path.read_bytes())
    whole = len(data)
    for position, value in changes:
        data[position % whole] = value
    path.write_bytes(data[:length])
    found = read_columns(path)  # whatever was changed: arrays or None, never an error
    assert found is None or length >= whole


def test_no_file_and_objects_of_python(tmp_path):
    assert read_columns(tmp_path / "a") is None
    (tmp_path / "b").touch()
    assert read_columns(tmp_path / "b") is None
    write_columns(tmp_path / "c", {"a": np.zeros(2, np.int64)}, {})
    data = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(data.replace(b'"<i8"', b'"|O8"'))
    assert read_columns(tmp_path / "c") is None


def test_a_folder_that_cannot_be_written_to_says_so(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        write_columns(tmp_path / "a", {}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
