from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.errors import DatasetError
from panoptic_blend.files import long_json
from panoptic_blend.files.long_json import LongJson

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def read(path: Path) -> LongJson:
    return LongJson(path, ("annotations", "images"), "a file")


@given(
    st.dictionaries(st.text(max_size=4), values, max_size=4),
    st.lists(values, max_size=5),
    st.integers(0, 4),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.sampled_from([1, 2, 3, 7, 50, 2**20]),
)
def test_it_reads_what_json_reads(
    tmp_path_factory, content: dict, rows: list, place: int, indent, ascii_only: bool, encoding: str, block: int
):
    items = [each for each in content.items() if each[0] != "annotations"]
    items.insert(place, ("annotations", rows))
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(dict(items), indent=indent, ensure_ascii=ascii_only), encoding=encoding)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(long_json, "_BLOCK", block)
        found = read(path)
        for _ in range(2):
            assert list(found.rows("annotations")) == rows
        assert list(found.content.items()) == [each for each in items if each[0] != "annotations"]
        assert [name in found for name in ("annotations", "images")] == [True, False]


@given(st.text("019.eE+-{}[]tn,: ", max_size=12), st.integers(1, 5))
def test_it_refuses_what_json_refuses(tmp_path_factory, middle: str, block: int):
    text = '{"annotations": [1, ' + middle + '], "b": 2}'
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(long_json, "_BLOCK", block)
        try:
            rows = json.loads(text)["annotations"]
        except ValueError:
            with pytest.raises(DatasetError, match="not valid JSON"):
                read(path)
        else:
            assert list(read(path).rows("annotations")) == rows


def test_of_fields_with_one_name_the_last_counts(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"annotations": [1], "b": 2, "annotations": [3, 4], "b": 5}')
    assert (list(read(path).rows("annotations")), read(path).content) == ([3, 4], {"b": 5})
    path.write_text('{"annotations": [1], "annotations": 2}')
    assert read(path).content == {"annotations": 2}
    path.write_text('{"annotations": 2, "annotations": [1]}')
    assert (list(read(path).rows("annotations")), read(path).content) == ([1], {})


def test_an_error_far_into_the_file_is_found_and_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_json, "_BLOCK", 10)
    rows = [f'{{"id": {i}}}' for i in range(100)]
    rows[70] = '{"id": 7x}'
    text = '{"annotations": [\n' + ",\n".join(rows) + "\n]}"
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)
    place = f"line {expected.value.lineno} column {expected.value.colno}"
    with pytest.raises(DatasetError, match=place + r"\)"):
        read(tmp_path / "a.json")


def test_memory_holds_a_block_at_a_time(tmp_path: Path):
    row = json.dumps({"id": 1, "text": "x" * 2000})
    (tmp_path / "a.json").write_text('{"annotations": [' + ",".join([row] * 6_000) + "]}")
    tracemalloc.start()
    try:
        count = sum(1 for _ in read(tmp_path / "a.json").rows("annotations"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 6_000
    assert (tmp_path / "a.json").stat().st_size > 10 * 2**20
    assert peak < 6 * 2**20


def test_a_file_that_is_changed_meanwhile_is_an_error(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"annotations": [1, 2]}')
    found = read(path)
    path.write_text('{"anno')
    with pytest.raises(DatasetError, match="not valid JSON"):
        list(found.rows("annotations"))


WHOLE = '{"images": [], "annotations": [{"a": [1, 2]}, {"b": "x"}], "c": {}}'


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_file_that_is_cut_off_is_refused(length: int, tmp_path: Path):
    (tmp_path / "a.json").write_text(WHOLE[:length])
    with pytest.raises(DatasetError, match=r"a.json: not valid JSON \(.*\). Export or download it again."):
        read(tmp_path / "a.json").rows("annotations")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE + "x", "not valid JSON"),
        (WHOLE.replace("}, {", "} {"), "not valid JSON"),
        (WHOLE.replace('"c":', '"c"'), "not valid JSON"),
        (WHOLE.replace('"c": {}', ""), "not valid JSON"),
        ("{1: 2}", "not valid JSON"),
        ('{"annotations": ' + "[" * 100000, "not valid JSON"),
        ("[1]", "a.json: holds a list, not an object. Give a file."),
        ("{}", "a.json: 'annotations' must be a list, found NoneType"),
        ('{"annotations": 7}', "a.json: 'annotations' must be a list, found int"),
    ],
)
def test_other_files_are_refused(text: str, said: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "a.json").rows("annotations")
    assert said in str(error.value)
