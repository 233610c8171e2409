from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from panoptic_blend.convert.voc import palette_color
from tests.convert.scenes import (
    convert_dataset,
    pixels,
    random_blobs,
    segments_of,
    segments_of_maps,
    write_image,
    write_map,
)

PALETTE = np.array([palette_color(index) for index in range(256)], np.uint8)
NAMES = {0: "background", 1: "aeroplane", 15: "person"}


def write_voc_map(path: Path, indices: np.ndarray, mode: str) -> None:
    if mode == "palette":
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(indices.astype(np.uint8), "P")
        image.putpalette(PALETTE.tobytes())
        image.save(path)
    else:
        write_map(path, PALETTE[indices] if mode == "colours" else indices.astype(np.uint8))


def write_scene(root: Path, classes: np.ndarray, objects: np.ndarray, mode: str, stem: str = "2007_000032") -> None:
    write_image(root / "JPEGImages" / f"{stem}.jpg", *classes.shape)
    write_voc_map(root / "SegmentationClass" / f"{stem}.png", classes, mode)
    write_voc_map(root / "SegmentationObject" / f"{stem}.png", objects, mode)


def test_the_palette_is_that_of_voc():
    colors = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    assert [palette_color(index) for index in range(5)] == colors
    assert palette_color(15) == (192, 128, 128)
    assert palette_color(20) == (0, 64, 128)
    assert palette_color(255) == (224, 224, 192)


def test_the_published_layout(shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "voc_dataset" / "voc_dataset1"
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like voc" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == {"2007_000001.jpg": {("bicycle", False, pixels(np.ones((10, 20), bool)))}}
    assert not (tmp_path / "out" / "annotations" / "panoptic_test.json").exists(), "nobody has maps of the test images"


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["palette", "colours", "gray"]))
def test_every_object_keeps_its_pixels(seed: int, mode: str):
    generator = np.random.default_rng(seed)
    classes = np.array([0, 1, 15, 255])[random_blobs(generator, 9, 12, 3)]
    objects = np.array([0, 1, 2, 3, 255])[random_blobs(generator, 9, 12, 4)]
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder) / "source", classes, objects, mode)
        assert convert_dataset(Path(folder) / "source", Path(folder) / "out") == 0
        expected = segments_of_maps(classes, np.where(objects == 255, 0, objects), NAMES, ("aeroplane", "person"))
        assert segments_of(Path(folder) / "out") == {"2007_000032.jpg": expected}


@pytest.mark.parametrize("mode", ["colours", "gray"])
def test_classes_of_a_label_map(mode: str, tmp_path: Path):
    classes, objects = np.array([[0, 1, 1, 2]]), np.array([[0, 1, 2, 0]])
    source = tmp_path / "source"
    write_scene(source, classes, objects, "gray")
    colors = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)
    if mode == "colours":
        write_map(source / "SegmentationClass" / "2007_000032.png", colors[classes])
    lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(("background", "nut", "table"), colors, strict=True)]
    (source / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines))
    (source / "ImageSets" / "Segmentation").mkdir(parents=True)
    (source / "ImageSets" / "Segmentation" / "default.txt").write_text("2007_000032\n")
    assert convert_dataset(source, tmp_path / "out", "--stuff", "table", "--drop", "background") == 0
    assert segments_of(tmp_path / "out") == {
        "2007_000032.jpg": {
            ("nut", False, pixels(classes * (objects == 1) > 0)),
            ("nut", False, pixels(classes * (objects == 2) > 0)),
            ("table", False, pixels(classes == 2)),
        }
    }


def test_lists_say_which_images_are_taken_and_their_splits(tmp_path: Path):
    source = tmp_path / "source"
    for stem in ("a", "b", "c"):
        write_scene(source, np.ones((2, 3), int), np.ones((2, 3), int), "palette", stem)
    write_image(source / "JPEGImages" / "detection_only.jpg", 2, 3)
    folder = source / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for name, stems in {"train": "a\n", "val": "c\n", "trainval": "a\nc\n"}.items():
        (folder / f"{name}.txt").write_text(stems)
    assert convert_dataset(source, tmp_path / "out") == 0
    assert list(segments_of(tmp_path / "out", "train")) == ["a.jpg"]
    assert list(segments_of(tmp_path / "out", "val")) == ["c.jpg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "annotations",
        "panoptic_train",
        "panoptic_val",
        "summary.txt",
        "train",
        "val",
    ]


def lists(source: Path, **stems: str) -> None:
    for name, text in stems.items():
        path = source / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


CLASSES, OBJECTS = (Path(f"Segmentation{kind}/2007_000032.png") for kind in ("Class", "Object"))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / OBJECTS).unlink(), f"{OBJECTS}: no such label map"),
        (lambda s: (s / CLASSES).write_bytes(b"\x89PNG"), f"{CLASSES}: cannot be read as a label map"),
        (lambda s: write_map(s / OBJECTS, np.ones((3, 3), np.uint8)), f"{OBJECTS}: is 3 x 3, but"),
        (lambda s: write_map(s / CLASSES, np.full((2, 3), 30, np.uint8)), "6 pixels have the value 30, which nobody"),
        (lambda s: write_map(s / CLASSES, np.full((2, 3, 3), 7, np.uint8)), "6 pixels have the colour 7, 7, 7"),
        (lambda s: (s / "JPEGImages/2007_000032.jpg").rename(s / "JPEGImages/x.jpg"), f"{CLASSES}: has no image"),
        (lambda s: lists(s, train="2007_000032\n2008_1\n"), "train.txt: '2008_1' has no map in"),
        (lambda s: lists(s, train="2007_000032\n", val="2007_000032\n"), "val.txt: '2007_000032' is in another list"),
        (lambda s: (s / "labelmap.txt").write_text("a b c\n"), "labelmap.txt, line 1: 'a b c' is neither"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_scene(source, np.ones((2, 3), int), np.ones((2, 3), int), "palette")
    break_it(source)
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
