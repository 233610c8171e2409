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
    segments_of_maps,
    write_image,
    write_map,
)
from tests.files.test_deep_png import write_deep_png


def row(name: str, *values: int) -> tuple[str, bool, bytes]:
    return name, False, pixels(np.array([values], bool))


CUSTOM = {
    "000000.png": {row("sky", 1, 1, 1, 0, 0), row("road", 0, 0, 0, 1, 1)},
    "000001.png": {row("building", 1, 1, 0, 0, 0), row("person", 0, 0, 1, 1, 0), row("road", 0, 0, 0, 0, 1)},
}


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        (
            "rand",
            {
                "000000.png": {row("Sky", 1, 1, 0, 0, 0), row("Pedestrian", 0, 0, 1, 1, 1)},
                "000001.png": {row("Car", 1, 0, 0, 0, 0), row("Cyclist", 0, 1, 1, 0, 0), row("Road", 0, 0, 0, 1, 1)},
            },
        ),
        (
            "sf",
            {
                "000000.png": {row("Road", 1, 1, 0, 0, 0), row("Terrain", 0, 0, 1, 1, 1)},
                "000001.png": {
                    row("TrafficSign", 1, 0, 0, 0, 0),
                    row("Sky", 0, 1, 1, 0, 0),
                    row("Building", 0, 0, 0, 1, 1),
                },
            },
        ),
        (
            "al",
            {
                "000000.png": {row("Sky", 1, 1, 0, 0, 0), row("Pedestrian", 0, 0, 1, 1, 1)},
                "000001.png": {row("Car", 1, 0, 0, 0, 0), row("Bicycle", 0, 1, 1, 0, 0), row("Road", 0, 0, 0, 1, 1)},
            },
        ),
        ("rand_custom_labelmap", CUSTOM),
    ],
)
def test_the_published_layouts(folder: str, expected, shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "synthia_dataset" / folder
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like synthia" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == expected


def test_names_of_a_list(shared: Path, tmp_path: Path):
    fixtures = shared / "fixtures" / "datumaro" / "synthia_dataset"
    names = fixtures / "rand_custom_labelmap" / "label_colors.txt"
    assert convert_dataset(fixtures / "rand_meta_file", tmp_path / "out", "--labels", str(names)) == 0
    assert segments_of(tmp_path / "out") == CUSTOM


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6))
def test_every_object_of_numbered_maps_keeps_its_pixels(seed: int):
    generator = np.random.default_rng(seed)
    labels = np.array([0, 3, 8, 10])[random_blobs(generator, 9, 12, 3)]
    instances = np.where(labels >= 8, random_blobs(generator, 9, 12, 5) * 300, 0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_image(source / "RGB" / "0000000.png", 9, 12)
        channels = np.stack([labels, instances, labels * 0], axis=2).astype(np.uint16)
        write_deep_png(source / "GT" / "LABELS" / "0000000.png", channels, [0, 4, 3])
        assert convert_dataset(source, Path(folder) / "out") == 0
        expected = segments_of_maps(labels, instances, {3: "Road", 8: "Car", 10: "Pedestrian"}, ("Car", "Pedestrian"))
        assert segments_of(Path(folder) / "out") == {"0000000.png": expected}


TEXT = Path("GTTXT/a.txt")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / TEXT).unlink(), "a.png: has no label map"),
        (lambda s: (s / TEXT).write_text("1 1 x\n1 1 1\n"), f"{TEXT}: is no table of whole numbers"),
        (lambda s: (s / TEXT).write_text("1 1 1\n1 1\n"), f"{TEXT}: is no table of whole numbers"),
        (lambda s: (s / TEXT).write_text("\n"), f"{TEXT}: holds no pixels"),
        (lambda s: (s / TEXT).write_text("1 1 1\n1 1 99\n"), "1 pixels have the value 99, which nobody named"),
        (lambda s: (s / TEXT).write_text("1 1 1\n"), "is 3 x 2, but its labels are made for 3 x 1"),
        (lambda s: shutil.rmtree(s / "GTTXT"), "looks like none of the formats"),
        (
            lambda s: write_map(s / "GT/LABELS/a.png", np.ones((2, 3), np.uint8)),
            "LABELS/a.png: is gray, but these maps hold class",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_image(source / "RGB" / "a.png", 2, 3)
    (source / "GTTXT").mkdir()
    (source / TEXT).write_text("1 1 1\n1 1 1\n")
    break_it(source)
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
