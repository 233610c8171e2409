from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.convert.scenes import convert_dataset, corners, random_rectangles, seen_of, segments_of, write_image

HEIGHT, WIDTH = 16, 32
NAMES = ["car", "cat"]
YAML = "path: /home/somebody/data\ntrain: images/train\nval: ../images/val\nnc: 2\nnames: ['car', 'cat']\n"


def line(name: str, box: tuple[int, int, int, int]) -> str:
    points = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in corners(box))
    return f"{NAMES.index(name)} {points}"


def write(root: Path, images: dict[str, list[str]], yaml: str = YAML) -> Path:
    """A data set with the lines of each image; names are `SPLIT/FILE`."""
    for name, lines in images.items():
        write_image(root / "images" / name, HEIGHT, WIDTH)
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{each}\n" for each in lines))
    (root / "data.yaml").write_text(yaml)
    return root


def test_polygons_are_objects_and_splits_are_kept(tmp_path: Path, capsys):
    images, expected = {}, {}
    for number in range(6):
        scene = random_rectangles(np.random.default_rng(number), HEIGHT, WIDTH, 4)
        images[f"train/{number}.png"] = [line(*each) for each in scene]
        expected[f"{number}.png"] = seen_of(scene, HEIGHT, WIDTH)
    source = write(tmp_path / "source", images | {"val/sub/x.jpg": [line("cat", (0, 0, 4, 4))]})
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like yolo-seg" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == expected
    assert segments_of(tmp_path / "out", "val") == {"sub/x.jpg": seen_of([("cat", (0, 0, 4, 4))], HEIGHT, WIDTH)}


@pytest.mark.parametrize(
    "yaml",
    [
        "train: list.txt\nnames: {0: car, 1: cat}\n",
        "train: [images/train, images/more]\nnames: [car, cat]\n",
        "train: images\nnames: [car, cat]\n",
    ],
)
def test_lists_and_several_folders(yaml: str, tmp_path: Path):
    lines = [line("car", (2, 2, 9, 9))]
    source = write(tmp_path / "source", {"train/a.png": lines, "more/a.png": lines}, yaml)
    (source / "list.txt").write_text("./images/train/a.png\nimages/more/a.png\n")
    assert convert_dataset(source / "data.yaml", tmp_path / "out") == 0
    found = segments_of(tmp_path / "out")
    assert len(found) == 2
    assert list(found.values()) == [seen_of([("car", (2, 2, 9, 9))], HEIGHT, WIDTH)] * 2


def test_the_layout_of_split_folders(tmp_path: Path):
    yaml = "train: ../train/images\nval: ../valid/images\nnames: [car, cat]\n"
    source = write(tmp_path / "source", {"a.png": [line("car", (2, 2, 9, 9))]}, yaml)
    (source / "train").mkdir()
    for folder in ("images", "labels"):
        shutil.move(source / folder, source / "train" / folder)
    shutil.copytree(source / "train", source / "valid")
    assert convert_dataset(source, tmp_path / "out") == 0
    assert segments_of(tmp_path / "out") == segments_of(tmp_path / "out", "val")


def test_what_is_no_mask_is_lost_and_said(tmp_path: Path, capsys):
    lines = ["0 0.5 0.5 0.2 0.2", "0 1.5 1.5 1.7 1.5 1.7 1.9", "1 0.1 0.1", line("cat", (1, 1, 5, 5))]
    source = write(tmp_path / "source", {"train/a.png": lines, "train/b.png": []}, YAML.replace("val:", "x:"))
    (source / "labels" / "train" / "b.txt").unlink()
    assert convert_dataset(source, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "lost: a.png: line 1 ('car'): a box, which is no mask" in said
    assert "lost: a.png: line 2 ('car'): has no pixels in the image" in said
    assert "lost: a.png: line 3 ('cat'): a polygon of 1 points, which has no area" in said
    assert "lost: b.png: no file b.txt with its labels: the image is void" in said
    expected = {"a.png": seen_of([("cat", (1, 1, 5, 5))], HEIGHT, WIDTH), "b.png": set()}
    assert segments_of(tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("lines", "yaml", "said"),
    [
        (["2 0.1 0.1 0.5 0.1 0.5 0.5"], YAML, "a.txt, line 1: the class 2 is not among the names"),
        (["car 0.1 0.1 0.5 0.1 0.5 0.5"], YAML, "a.txt, line 1: the class must be a whole number, found 'car'"),
        (["0 0.1 0.1 0.5 x 0.5 0.5"], YAML, "a.txt, line 1 must be a number, found 'x'"),
        (["0 0.1 0.1 0.5 nan 0.5 0.5"], YAML, "a.txt, line 1 must be a number, found 'nan'"),
        (["0 0.1 0.1 0.5 0.1 0.5"], YAML, "a.txt, line 1: has 5 coordinates"),
        (["0 0.1 0.1 0.5 0.1"], YAML, "None of the labels can be used. The first: a.png: line 1 ('car'): a box"),
        ([], "train: [images/train\n", "data.yaml: not valid YAML"),
        ([], "train: images/train\n", "data.yaml: 'names' must be an object, found None"),
        ([], "train: images/train\nnames: {a: b}\n", "'names': a class must be a whole number, found 'a'"),
        ([], "- 1\n", "data.yaml must be an object, found a list"),
        ([], "names: [car]\n", "names no images"),
        ([], "train: images/nothing\nnames: [car]\n", "images/nothing is not there"),
        ([], "train: ../outside\nnames: [car]\n", "outside is not below it"),
        ([], "train: list.txt\nnames: [car]\n", "list.txt: file_name '../outside/x.png' leaves its folder"),
        ([], "train: missing.txt\nnames: [car]\n", "missing.txt: the image x.png is not in"),
        ([], "train: missing.txt\nnames: [car]\n", "Correct the list."),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(lines, yaml: str, said: str, tmp_path: Path, capsys):
    source = write(tmp_path / "source", {"train/a.png": lines, "val/b.png": lines}, yaml)
    write_image(tmp_path / "outside" / "x.png", HEIGHT, WIDTH)
    (source / "list.txt").write_text("../outside/x.png\n")
    (source / "missing.txt").write_text("x.png\n")
    before = sorted(tmp_path.iterdir())
    assert convert_dataset(source, tmp_path / "out", "--from", "yolo-seg") == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before


def test_labels_that_are_not_there_at_all_are_said(tmp_path: Path, capsys):
    source = write(tmp_path / "source", {"train/a.png": [], "val/b.png": []})
    shutil.rmtree(source / "labels")
    assert convert_dataset(source, tmp_path / "out") == 1
    assert "labels/train/a.txt: no such file, and no other image has one" in " ".join(capsys.readouterr().err.split())


def test_a_yaml_bomb_does_no_harm(tmp_path: Path, capsys):
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    source = write(tmp_path / "source", {"train/a.png": []}, f"{bomb}names: *a11\ntrain: images\n")
    assert convert_dataset(source, tmp_path / "out") == 1
    assert "a name must be a text, found a list" in " ".join(capsys.readouterr().err.split())


def test_datumaros_boxes_are_named(shared: Path, tmp_path: Path, capsys):
    """Its fixture has two boxes an image, of label_2 and label_4, and no polygon."""
    folder = shared / "fixtures" / "datumaro" / "yolo_dataset" / "labels"
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    names = (source / "obj.names").read_text().split()
    (source / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {json.dumps(names)}\n")
    assert convert_dataset(source, tmp_path / "out") == 1
    assert "1.jpg: line 1 ('label_2'): a box, which is no mask" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("listed", ["images\\train\\a.png", "{root}/images/train/a.png"])
def test_lists_of_windows_and_of_whole_paths(listed: str, tmp_path: Path):
    yaml = "train: list.txt\nnames: [car, cat]\n"
    source = write(tmp_path / "source", {"train/a.png": [line("car", (2, 2, 9, 9))]}, yaml)
    (source / "list.txt").write_text(listed.format(root=source.resolve()) + "\n")
    assert convert_dataset(source, tmp_path / "out") == 0
    assert len(segments_of(tmp_path / "out")) == 1
