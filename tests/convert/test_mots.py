from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convert.scenes import (
    convert_dataset,
    pixels,
    random_blobs,
    segments_of,
    write_image,
    write_map,
)


def one_row(*values: int) -> bytes:
    return pixels(np.array([values], bool))


def test_classes_of_a_list(shared: Path, tmp_path: Path, capsys):
    source = tmp_path / "source"
    shutil.copytree(shared / "fixtures" / "datumaro" / "mots_dataset", source)
    assert convert_dataset(source, tmp_path / "turned") == 1
    assert "is 1 x 5, but its labels are made for 5 x 1" in capsys.readouterr().err
    for name in ("train/images/1.jpg", "train/images/2.jpg", "val/images/3.jpg"):
        write_image(source / name, 1, 5)  # the fixture's images lie on their side
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like mots" in capsys.readouterr().out
    assert segments_of(tmp_path / "out", "train") == {
        "1.jpg": {
            ("d", False, one_row(0, 0, 0, 1, 0)),
            ("c", False, one_row(0, 0, 1, 0, 0)),
            ("d", False, one_row(1, 1, 0, 0, 0)),
            ("background", False, one_row(0, 0, 0, 0, 1)),
        },
        "2.jpg": {("d", False, one_row(1, 0, 0, 0, 0)), ("background", False, one_row(0, 1, 1, 1, 1))},
    }
    assert segments_of(tmp_path / "out", "val") == {
        "3.jpg": {("a", False, one_row(0, 1, 0, 0, 0)), ("background", False, one_row(1, 0, 1, 1, 1))}
    }


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["images", "training/image_02"]))
def test_every_object_keeps_its_pixels(seed: int, images: str):
    values = np.array([0, 1000, 1001, 2000, 2007, 10000])[random_blobs(np.random.default_rng(seed), 9, 12, 5)]
    expected = {
        (name, False, pixels(values == value))
        for value, name in {0: "background", 1000: "car", 1001: "car", 2000: "pedestrian", 2007: "pedestrian"}.items()
        if (values == value).any()
    }
    with tempfile.TemporaryDirectory() as folder:
        write_image(Path(folder) / "source" / images / "0002" / "000000.jpg", 9, 12)
        write_map(Path(folder) / "source" / "instances" / "0002" / "000000.png", values.astype(np.uint16))
        assert convert_dataset(Path(folder) / "source", Path(folder) / "out") == 0
        assert segments_of(Path(folder) / "out") == {"0002/000000.jpg": expected}


def other_names(source: Path) -> None:
    write_image(source / "val" / "images" / "b.jpg", 2, 3)
    write_map(source / "val" / "instances" / "b.png", np.zeros((2, 3), np.uint16))
    (source / "val" / "instances" / "labels.txt").write_text("dog\n")


MAP = Path("train/instances/a.png")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / MAP).unlink(), "a.jpg: has no label map"),
        (lambda s: write_map(s / MAP, np.full((2, 3), 3001, np.uint16)), "6 pixels have the value 3, which nobody"),
        (lambda s: write_map(s / MAP, np.zeros((2, 3), np.uint8)), f"{MAP}: is 8-bit gray, but class x 1000"),
        (lambda s: (s / MAP.parent / "labels.txt").write_text(" \n"), "labels.txt: is empty"),
        (other_names, "its splits name other classes"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_image(source / "train" / "images" / "a.jpg", 2, 3)
    write_map(source / MAP, np.zeros((2, 3), np.uint16))
    break_it(source)
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
