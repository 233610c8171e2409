from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.convert.scenes import (
    convert_dataset,
    random_blobs,
    segments_of,
    segments_of_maps,
    write_image,
    write_map,
)

NAMES = {7: "road", 11: "building", 24: "person", 26: "car"}


def write_scene(root: Path, labels: np.ndarray, instances: np.ndarray) -> None:
    write_image(root / "image_2" / "000000_10.png", *labels.shape)
    write_map(root / "instance" / "000000_10.png", (labels * 256 + instances).astype(np.uint16))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["", "training"]))
def test_every_object_keeps_its_pixels(seed: int, root: str):
    generator = np.random.default_rng(seed)
    labels = np.array([3, 7, 11, 24, 26])[random_blobs(generator, 9, 12, 4)]
    instances = np.where(labels >= 24, random_blobs(generator, 9, 12, 5), 0)
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder) / "source" / root, labels, instances)
        assert convert_dataset(Path(folder) / "source", Path(folder) / "out") == 0
        expected = segments_of_maps(labels, instances, NAMES, ("person", "car"))
        assert segments_of(Path(folder) / "out") == {"000000_10.png": expected}


def test_other_labels_can_be_named(tmp_path: Path):
    labels, instances = np.array([[0, 1, 2, 2]]), np.array([[0, 0, 1, 2]])
    write_scene(tmp_path / "source", labels, instances)
    (tmp_path / "names.txt").write_text("0 void\n1 soil\n2 weed\n")
    options = ["--labels", str(tmp_path / "names.txt"), "--things", "weed"]
    assert convert_dataset(tmp_path / "source", tmp_path / "out", *options) == 0
    expected = segments_of_maps(labels, instances, {1: "soil", 2: "weed"}, ("weed",))
    assert segments_of(tmp_path / "out") == {"000000_10.png": expected}


MAP = Path("instance/000000_10.png")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / MAP).unlink(), "image_2/000000_10.png: has no label map"),
        (lambda s: (s / MAP).write_bytes((s / MAP).read_bytes()[:50]), f"{MAP}: cannot be read as a label map"),
        (lambda s: write_map(s / MAP, np.full((2, 3), 60 << 8, np.uint16)), "6 pixels have the value 60, which"),
        (lambda s: write_map(s / MAP, np.full((2, 3), 7, np.uint8)), f"{MAP}: is 8-bit gray, but category x 256"),
        (lambda s: write_map(s / MAP, np.zeros((2, 3, 3), np.uint8)), f"{MAP}: is in colour, but category x 256"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_scene(source, np.full((2, 3), 7), np.zeros((2, 3), int))
    break_it(source)
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
