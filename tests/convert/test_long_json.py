from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.convert.long_json import read_json_rows
from panoptic_blend.errors import DatasetError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=4), values, max_size=4),
    st.lists(values, max_size=5),
    st.integers(0, 4),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
)
def test_it_reads_what_json_reads(tmp_path_factory, content: dict, rows: list, place: int, indent, ascii_only: bool):
    items = [each for each in content.items() if each[0] != "annotations"]
    items.insert(place, ("annotations", rows))
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(dict(items), indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    rest, found = read_json_rows(path, "annotations", "a file")
    assert list(found) == rows
    assert list(rest.items()) == [each for each in items if each[0] != "annotations"]


WHOLE = '{"images": [], "annotations": [{"a": [1, 2]}, {"b": "x"}], "c": {}}'


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_file_that_is_cut_off_is_refused(length: int, tmp_path: Path):
    (tmp_path / "a.json").write_text(WHOLE[:length])
    with pytest.raises(DatasetError, match=r"a.json: not valid JSON \(.*\). Export or download it again."):
        read_json_rows(tmp_path / "a.json", "annotations", "a file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE + "x", "not valid JSON"),
        (WHOLE.replace("}, {", "} {"), "not valid JSON"),
        (WHOLE.replace('"c":', '"c"'), "not valid JSON"),
        (WHOLE.replace('"c": {}', ""), "not valid JSON"),
        ("{1: 2}", "not valid JSON"),
        ('{"annotations": ' + "[" * 100000, "not valid JSON"),
        ("[1]", "a.json must be an object, found a list"),
        ("{}", "a.json: 'annotations' must be a list, found None"),
        ('{"annotations": 7}', "a.json: 'annotations' must be a list, found 7"),
    ],
)
def test_other_files_are_refused(text: str, said: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError) as error:
        read_json_rows(tmp_path / "a.json", "annotations", "a file")
    assert said in str(error.value)
