"""What the person decides, as options of the command and as functions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from panoptic_blend.convert.choices import assign_splits
from panoptic_blend.convert.source import SourceImage
from tests.convert.scenes import convert_dataset, pixels, segments_of

HEIGHT, WIDTH = 12, 20


def boxed(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


LARGE, SMALL, GROUND = boxed(2, 2, 12, 10), boxed(8, 4, 14, 8), boxed(0, 9, 20, 12)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """LabelMe files of two folders of three images: a small car lies over a large cat, and both over the ground."""
    for name in ("a/1", "a/2", "a/3", "b/1", "b/2", "b/3"):
        path = tmp_path / "source" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        boxes = {"ground": [[0, 9], [20, 12]], "car": [[8, 4], [14, 8]], "cat": [[2, 2], [12, 10]]}
        shapes = [{"label": label, "points": box, "shape_type": "rectangle"} for label, box in boxes.items()]
        row = {"shapes": shapes, "imagePath": path.name, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        path.with_suffix(".json").write_text(json.dumps(row))
    return tmp_path / "source"


def convert(source: Path, *options: str) -> set[tuple[str, bool, bytes]]:
    """The segments of one of the images, which are all alike."""
    output = source.parent / "out"
    assert convert_dataset(source, output, *options) == 0
    found = segments_of(output)
    assert len(found) == 6
    assert all(each == found["a/1.png"] for each in found.values())
    return found["a/1.png"]


def rows(source: Path) -> list[tuple[str, bool]]:
    path = source.parent / "out" / "annotations" / "panoptic_train.json"
    return [(row["name"], bool(row["isthing"])) for row in json.loads(path.read_text())["categories"]]


def test_the_smaller_object_stays_in_front(source: Path, capsys):
    expected = {
        ("car", False, pixels(SMALL)),
        ("ground", False, pixels(GROUND)),  # 60 pixels, and so in front of the cat's 80
        ("cat", False, pixels(LARGE & ~SMALL & ~GROUND)),
    }
    assert convert(source) == convert_again(source, "--overlap", "smaller") == expected
    assert "6 objects are hidden in part by another" in " ".join(capsys.readouterr().out.split())


def convert_again(source: Path, *options: str) -> set[tuple[str, bool, bytes]]:
    (source.parent / "out").rename(source.parent / f"out{len(list(source.parent.iterdir()))}")
    return convert(source, *options)


def test_the_later_object_stays_in_front(source: Path):
    assert convert(source, "--overlap", "order") == {
        ("cat", False, pixels(LARGE)),
        ("car", False, pixels(SMALL & ~LARGE)),
        ("ground", False, pixels(GROUND & ~LARGE)),
    }


def test_overlap_can_be_an_error(source: Path, capsys):
    assert convert_dataset(source, source.parent / "out", "--overlap", "error") == 1
    assert "a/1.png: 'ground' and 'cat' overlap, near row 2, column 2." in capsys.readouterr().err


def test_a_category_is_made_stuff(source: Path):
    convert(source, "--stuff", "ground")
    assert rows(source) == [("car", True), ("cat", True), ("ground", False)]


def test_a_category_is_renamed(source: Path):
    found = convert(source, "--rename", "ground=floor", "--rename", "cat=big cat")
    assert {name for name, *_ in found} == {"car", "floor", "big cat"}
    assert rows(source) == [("car", True), ("big cat", True), ("floor", True)]


def test_categories_are_merged_and_their_objects_stay_apart(source: Path):
    found = convert(source, "--merge", "car,cat=thing", "--stuff", "ground")
    assert found == {
        ("thing", False, pixels(SMALL)),
        ("thing", False, pixels(LARGE & ~SMALL & ~GROUND)),
        ("ground", False, pixels(GROUND)),
    }


def test_merged_stuff_is_one_segment(source: Path):
    found = convert(source, "--merge", "car,cat=rest", "--stuff", "car,cat,ground")
    assert found == {("rest", False, pixels((SMALL | LARGE) & ~GROUND)), ("ground", False, pixels(GROUND))}


def test_a_dropped_category_hides_nothing(source: Path):
    assert convert(source, "--drop", "ground,car") == {("cat", False, pixels(LARGE))}
    assert rows(source) == [("cat", True)]


def splits(source: Path, *options: str) -> dict[str, list[str]]:
    output = source.parent / f"out{len(list(source.parent.iterdir()))}"
    assert convert_dataset(source, output, *options) == 0
    files = sorted((output / "annotations").iterdir())
    return {path.stem[9:]: [row["file_name"] for row in json.loads(path.read_text())["images"]] for path in files}


def test_folders_stay_together(source: Path):
    found = splits(source, "--split", "0.5,0.5")
    assert sorted(found) == ["train", "val"]
    assert sorted(found.values()) == [[f"{folder}/{n}.png" for n in (1, 2, 3)] for folder in "ab"]


def test_groups_stay_together(source: Path):
    found = splits(source, "--split", "0.34,0.33,0.33", "--group-by", r"/(\d)")
    assert sorted(found) == ["test", "train", "val"]
    assert sorted(found.values()) == [[f"a/{n}.png", f"b/{n}.png"] for n in (1, 2, 3)]


def test_a_seed_deals_out_anew_and_repeats(source: Path):
    options = ["--split", "0.5,0.5", "--group-by", "^.*$"]
    by_seed = [splits(source, *options, "--seed", str(seed)) for seed in (0, 0, 1, 2, 3)]
    assert by_seed[0] == by_seed[1]
    assert any(each != by_seed[0] for each in by_seed[2:])


def test_the_only_split_has_a_name(source: Path, capsys):
    assert list(splits(source, "--name", "val")) == ["val"]
    assert convert_dataset(source, source.parent / "bad", "--name", "../x") == 2
    assert "--name ../x: use letters" in capsys.readouterr().err


@given(st.lists(st.integers(1, 9), min_size=3, max_size=30), st.integers(0, 5), st.sampled_from([2, 3]))
@settings(max_examples=60, deadline=None)
def test_no_split_is_empty_and_shares_are_kept(sizes: list[int], seed: int, parts: int):
    images = [SourceImage(Path(), f"{group}/{n}.png") for group, size in enumerate(sizes) for n in range(size)]
    shares = {2: (0.9, 0.1), 3: (0.8, 0.1, 0.1)}[parts]
    found = assign_splits(images, shares, seed, "", "train")
    assert sorted(sum(found.values(), start=[])) == list(range(len(images)))  # noqa: RUF017
    assert all(found.values())
    folders = [{images[position].name.split("/")[0] for position in given} for given in found.values()]
    assert sum(map(len, folders)) == len(sizes)
    if len(sizes) > 20:  # a group is too many or too few at most
        for share, given in zip(shares, found.values(), strict=True):
            assert abs(len(given) - share * len(images)) <= max(sizes)


def test_images_of_one_folder_are_dealt_out_by_themselves(source: Path):
    (source / "b").rename(source.parent / "b")
    names = splits(source, "--split", "0.5,0.5")
    assert sorted(map(len, names.values())) == [1, 2]
