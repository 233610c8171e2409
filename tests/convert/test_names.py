from __future__ import annotations

from pathlib import Path

import pytest

from panoptic_blend.convert.names import LabelName, read_names


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.txt", "# values\n0 void\n7 traffic sign\n"),
        ("names.csv", "name,value\nvoid,0\ntraffic sign,7\n"),
        ("names.csv", "ID,Name\n0,void\n7,traffic sign\n"),
        ("names.json", '{"0": "void", "7": "traffic sign"}'),
        ("names.json", '[{"id": 0, "name": "void"}, {"id": 7, "name": "traffic sign"}]'),
    ],
)
def test_values(file: str, text: str, tmp_path: Path):
    (tmp_path / file).write_text(text)
    void, sign = read_names(tmp_path / file)
    assert (void.is_void, sign.is_void) == (True, False)
    assert sign == LabelName("traffic sign", 7, None)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("label_colors.txt", "64 128 64\tAnimal\n192 0 128\t\tArchway\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nAnimal:64,128,64::\nArchway:192,0,128::\n"),
        ("class_dict.csv", "name,r,g,b\nAnimal, 64, 128, 64\nArchway,192,0,128\n"),
    ],
)
def test_colours(file: str, text: str, tmp_path: Path):
    (tmp_path / file).write_text(text)
    assert read_names(tmp_path / file) == [
        LabelName("Animal", None, (64, 128, 64)),
        LabelName("Archway", None, (192, 0, 128)),
    ]
