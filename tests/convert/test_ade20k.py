from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.coco.segments_png import write_id_map
from tests.convert.scenes import convert_dataset, pixels, random_blobs, segments_of, write_image, write_map

PARTS = ["--things", "license plate,rim,door"]


def rows(name: str, height: int, *values: int) -> tuple[str, bool, bytes]:
    return name, False, pixels(np.array([values] * height, bool))


@pytest.mark.parametrize("folder", ["dataset", "dataset_with_meta_file"])
def test_the_release_of_2017(folder: str, shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "ade20k2017_dataset" / folder
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like ade20k" in capsys.readouterr().out
    train = {"street/1.jpg": {rows("sky", 3, 0, 1, 0, 0), rows("person", 3, 0, 0, 1, 1)}}
    assert segments_of(tmp_path / "out", "train") == train
    if folder == "dataset":
        val = {"2.jpg": {rows("sky", 3, 0, 1, 0, 1), rows("person", 3, 0, 0, 1, 0)}}
        assert segments_of(tmp_path / "out", "val") == val


def test_parts_of_the_release_of_2017_lie_in_front(shared: Path, tmp_path: Path):
    source = shared / "fixtures" / "datumaro" / "ade20k2017_dataset" / "dataset"
    assert convert_dataset(source, tmp_path / "out", "--things", "license plate,rim") == 0
    # The license plate of the first image covers half of the person, that of the second all of the sky.
    assert segments_of(tmp_path / "out", "train") == {
        "street/1.jpg": {
            rows("sky", 3, 0, 1, 0, 0),
            rows("person", 3, 0, 0, 1, 0),
            rows("license plate", 3, 0, 0, 0, 1),
        }
    }
    assert segments_of(tmp_path / "out", "val") == {
        "2.jpg": {rows("person", 3, 0, 0, 1, 0), rows("license plate", 3, 0, 0, 0, 1), rows("rim", 3, 0, 1, 0, 0)}
    }


@pytest.mark.parametrize("folder", ["dataset", "dataset_with_meta_file"])
def test_the_release_of_2020(folder: str, shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "ade20k2020_dataset" / folder
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like ade20k" in capsys.readouterr().out
    expected = {rows("car", 5, 0, 0, 1, 1, 1), rows("person", 5, 0, 1, 0, 0, 0)}
    assert segments_of(tmp_path / "out", "train") == {"street/1.jpg": expected}
    if folder == "dataset":
        assert segments_of(tmp_path / "out", "val") == {"2.jpg": expected}


def test_parts_of_the_release_of_2020(shared: Path, tmp_path: Path):
    source = shared / "fixtures" / "datumaro" / "ade20k2020_dataset" / "dataset"
    assert convert_dataset(source, tmp_path / "out", "--things", "door,rim") == 0
    assert segments_of(tmp_path / "out", "val") == {
        "2.jpg": {
            rows("car", 5, 0, 0, 1, 0, 0),
            rows("person", 5, 0, 1, 0, 0, 0),
            rows("door", 5, 0, 0, 0, 1, 0),
            rows("rim", 5, 0, 0, 0, 0, 1),
        }
    }


def write_scene(folder: Path, numbers: np.ndarray, names: dict[int, str], blue: np.ndarray) -> None:
    """An image of 2017; `blue` is the blue value of every number."""
    write_image(folder / "a.jpg", *numbers.shape)
    channels = [numbers * 10, numbers, blue[numbers]]
    write_map(folder / "a_seg.png", np.stack(channels, axis=2).astype(np.uint8))
    lines = [f'{number:03} # 0 # 0 # {name} # {name} # ""' for number, name in names.items()]
    (folder / "a_atr.txt").write_text("\n".join(lines) + "\n")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.booleans())
def test_every_object_keeps_its_pixels(seed: int, is_spread: bool):
    generator = np.random.default_rng(seed)
    numbers = random_blobs(generator, 9, 12, 4)
    if is_spread:  # then hidden objects are not counted
        numbers = np.unique(numbers, return_inverse=True)[1].reshape(9, 12)
    names = {n: str(generator.choice(["door, double door", "sky", "car"])) for n in range(1, numbers.max() + 1)}
    blue = np.arange(5) * (51 if is_spread else 1)
    things = {("door" if "door" in name else name, n) for n, name in names.items() if name != "sky"}
    expected = {(name, False, pixels(numbers == n)) for name, n in things if (numbers == n).any()}
    is_sky = np.isin(numbers, [n for n, name in names.items() if name == "sky"])
    if is_sky.any():
        expected.add(("sky", False, pixels(is_sky)))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_scene(source / "images" / "training" / "k", numbers, names or {1: "sky"}, blue)
        assert convert_dataset(source, Path(folder) / "out") == 0
        assert segments_of(Path(folder) / "out") == {"k/a.jpg": expected}


def test_categories_that_begin_alike_keep_all_their_names(tmp_path: Path):
    names = {1: "screen, silver screen", 2: "screen, CRT screen", 3: "door, double door"}
    write_scene(tmp_path / "source" / "training", np.array([[1, 2, 3]]), names, np.arange(4))
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    assert segments_of(tmp_path / "out") == {
        "a.jpg": {
            rows("screen;silver screen", 1, 1, 0, 0),
            rows("screen;CRT screen", 1, 0, 1, 0),
            rows("door", 1, 0, 0, 1),
        }
    }


def test_the_panoptic_jsons_of_the_challenge(tmp_path: Path, capsys):
    source = tmp_path / "source"
    for split, folder in (("train", "training"), ("val", "validation")):
        name = f"ADE_{split}_00000001"
        truth = {
            "images": [{"id": name, "file_name": f"{name}.jpg", "width": 3, "height": 1}],
            "annotations": [
                {
                    "image_id": name,
                    "file_name": f"{name}.png",
                    "segments_info": [{"id": 1, "category_id": 0}, {"id": 9, "category_id": 7, "iscrowd": 1}],
                }
            ],
            "categories": [{"id": 0, "name": "wall", "isthing": 0}, {"id": 7, "name": "bed", "isthing": 1}],
        }
        write_id_map(source / f"ade20k_panoptic_{split}" / f"{name}.png", np.array([[0, 1, 9]], np.int32))
        (source / f"ade20k_panoptic_{split}.json").write_text(json.dumps(truth))
        write_image(source / "images" / folder / f"{name}.jpg", 1, 3)
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like ade20k" in capsys.readouterr().out
    for split in ("train", "val"):
        (found,) = segments_of(tmp_path / "out", split).values()
        assert found == {rows("wall", 1, 0, 1, 0), ("bed", True, pixels(np.array([[0, 0, 1]])))}
    truth["categories"][1]["name"] = "cot"
    (source / "ade20k_panoptic_val.json").write_text(json.dumps(truth))
    assert convert_dataset(source, tmp_path / "bad") == 1
    assert "other categories than in" in capsys.readouterr().err


ATR, SEG = Path("training/a_atr.txt"), Path("training/a_seg.png")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / ATR).unlink(), "a.jpg: has neither a_atr.txt nor a.json beside it"),
        (
            lambda s: (s / ATR).write_text("001 # 0 # 0 # sky\n"),
            f"{ATR}, line 1: expected 'number # level",
        ),
        (lambda s: (s / ATR).write_text('x # 0 # 0 # sky # sky # ""\n'), f"{ATR}, line 1: expected 'number # level"),
        (lambda s: (s / SEG).write_bytes((s / SEG).read_bytes()[:50]), f"{SEG}: cannot be read as a label map"),
        (lambda s: write_map(s / SEG, np.ones((1, 3), np.uint8)), f"{SEG}: is gray, but class and object"),
        (lambda s: write_map(s / SEG, np.arange(9, dtype=np.uint8).reshape(1, 3, 3)), "has 3 objects, but the list"),
        (lambda s: write_map(s / SEG, np.ones((3, 3, 3), np.uint8)), "is 3 x 1, but its maps of level 0 are 3 x 3"),
    ],
)
def test_bad_input_of_2017_is_named(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_scene(source / "training", np.array([[0, 1, 2]]), {1: "sky", 2: "car"}, np.arange(3))
    break_it(source)
    write_scene(source / "validation", np.array([[0, 1, 2]]), {1: "sky", 2: "car"}, np.arange(3))
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


OBJECT = {"id": 0, "name": "car", "name_ndx": 401, "parts": {"part_level": 0}, "instance_mask": "a/instance_000.png"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "a.json: not valid JSON"),
        ("[]", "a.json: holds a list, not an object"),
        ('{"annotation": {"object": 7}}', "a.json: has no list 'annotation.object'"),
        ({"instance_mask": "../b.png"}, "a.json: object 0: file_name '../b.png' leaves its folder"),
        ({"name_ndx": "car"}, "a.json: object 0: expected an object with id, name"),
        ({"parts": []}, "a.json: object 0: expected an object with id, name"),
        ({"instance_mask": "a/missing.png"}, "a/missing.png: no such label map"),
        ({"instance_mask": "a_seg.png"}, "a_seg.png: is in colour, but a mask is gray"),
    ],
)
def test_bad_input_of_2020_is_named(content, said: str, tmp_path: Path, capsys):
    folder = tmp_path / "source" / "training"
    write_image(folder / "a.jpg", 1, 3)
    write_map(folder / "a_seg.png", np.full((1, 3, 3), (10, 145, 1), np.uint8))
    write_map(folder / "a" / "instance_000.png", np.full((1, 3), 255, np.uint8))
    if isinstance(content, dict):
        content = json.dumps({"annotation": {"object": [OBJECT | content]}})
    (folder / "a.json").write_text(content)
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_masks_of_2020_are_cut_to_what_is_in_front(tmp_path: Path):
    folder = tmp_path / "source" / "training"
    write_image(folder / "a.jpg", 1, 3)
    write_map(folder / "a_seg.png", np.array([[[10, 145, 1], [20, 1, 2], [20, 1, 2]]], np.uint8))
    write_map(folder / "a" / "instance_000.png", np.array([[255, 128, 0]], np.uint8))
    write_map(folder / "a" / "instance_001.png", np.array([[0, 255, 255]], np.uint8))
    other = OBJECT | {"id": 1, "name": "tree", "name_ndx": 513, "instance_mask": "a/instance_001.png"}
    (folder / "a.json").write_text(json.dumps({"annotation": {"object": [OBJECT, other]}}))
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    assert segments_of(tmp_path / "out") == {"a.jpg": {rows("car", 1, 1, 0, 0), rows("tree", 1, 0, 1, 1)}}
