from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
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

NAMES = {0: "road", 2: "building", 11: "person", 13: "car", 14: "truck"}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["images/val", "training/image_02"]))
def test_every_object_keeps_its_pixels(seed: int, images: str):
    generator = np.random.default_rng(seed)
    labels = np.array([255, 0, 2, 11, 13, 14])[random_blobs(generator, 9, 12, 5)]
    instances = np.where(np.isin(labels, (11, 13)), random_blobs(generator, 9, 12, 5) * 200, 0)
    with tempfile.TemporaryDirectory() as folder:
        source, name = Path(folder) / "source", "0002/000000.png"
        write_image(source / images / name, *labels.shape)
        channels = [labels, instances // 256, instances % 256]
        write_map(source / "panoptic_maps" / "val" / name, np.stack(channels, axis=2).astype(np.uint8))
        assert convert_dataset(source, Path(folder) / "out") == 0
        expected = segments_of_maps(labels, instances, NAMES, ("person", "car"))
        assert segments_of(Path(folder) / "out", "val") == {"0002/000000.png": expected}


def test_sequences_without_images_are_named(tmp_path: Path, capsys):
    write_map(tmp_path / "source" / "panoptic_maps" / "train" / "0000" / "000000.png", np.ones((2, 3, 3), np.uint8))
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 1
    assert "training/image_02/0000: no such folder" in capsys.readouterr().err


def test_gray_maps_are_refused(tmp_path: Path, capsys):
    write_image(tmp_path / "source" / "images" / "train" / "0000" / "000000.png", 2, 3)
    write_map(tmp_path / "source" / "panoptic_maps" / "train" / "0000" / "000000.png", np.ones((2, 3), np.uint8))
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 1
    assert "0000/000000.png: is gray, but a panoptic map of KITTI-STEP is RGB" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
