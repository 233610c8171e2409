from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.convert.scenes import (
    convert_dataset,
    corners,
    pixels,
    random_rectangles,
    seen_of,
    segments_of,
    write_image,
)

HEIGHT, WIDTH = 14, 19
CATEGORIES = [
    {"id": 0, "name": "street", "supercategory": "none"},
    {"id": 1, "name": "car", "supercategory": "street"},
    {"id": 2, "name": "cat", "supercategory": "street"},
]


def write(folder: Path, scenes: dict[str, list]) -> Path:
    """One split with the rectangles of each image; its JSON."""
    images, annotations = [], []
    for number, (name, scene) in enumerate(scenes.items()):
        write_image(folder / name, HEIGHT, WIDTH)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 1})
        for category, box in scene:
            row = {"id": len(annotations), "image_id": number, "category_id": 1 + (category == "cat"), "iscrowd": 0}
            annotations.append(row | {"segmentation": [np.ravel(corners(box)).tolist()]})
    path = folder / "_annotations.coco.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return path


def test_splits_become_splits_and_the_group_no_category(tmp_path: Path, capsys):
    expected = {}
    for split in ("train", "valid", "test"):
        scenes = {
            f"{n}.png": random_rectangles(np.random.default_rng([n, len(split)]), HEIGHT, WIDTH, 4) for n in range(3)
        }
        write(tmp_path / "source" / split, scenes)
        expected[split] = {name: seen_of(scene, HEIGHT, WIDTH) for name, scene in scenes.items()}
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    assert "looks like roboflow" in capsys.readouterr().out
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        assert segments_of(tmp_path / "out", name) == expected[split]
    rows = json.loads((tmp_path / "out" / "annotations" / "panoptic_val.json").read_text())["categories"]
    assert [(row["id"], row["name"]) for row in rows] == [(1, "car"), (2, "cat")]


def test_one_split_by_itself(tmp_path: Path):
    write(tmp_path / "source", {"a.png": [("car", (1, 1, 5, 5))]})
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--name", "val") == 0
    assert segments_of(tmp_path / "out", "val") == {"a.png": seen_of([("car", (1, 1, 5, 5))], HEIGHT, WIDTH)}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text[:-30], "valid/_annotations.coco.json: not valid JSON"),
        (lambda text: text.replace("a.png", "../train/a.png"), "leaves its folder"),
        (lambda text: text.replace("a.png", "b.png"), "the image b.png is not in"),
        (lambda text: text.replace('"category_id": 1', '"category_id": 9'), "category_id 9 is not in 'categories'"),
        (lambda text: text.replace(f'"width": {WIDTH}', '"width": 5'), "is 19 x 14, but its labels are made for 5"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(edit, said: str, tmp_path: Path, capsys):
    write(tmp_path / "source" / "train", {"a.png": [("car", (1, 1, 5, 5))]})
    path = write(tmp_path / "source" / "valid", {"a.png": [("car", (1, 1, 5, 5))]})
    path.write_text(edit(path.read_text()))
    before = sorted(tmp_path.iterdir())
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before


def test_the_labels_of_both_splits_as_datumaro_reads_them(shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "coco_dataset" / "coco_roboflow"
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "lost: a.jpg: annotation 1 ('b'): has no mask, at most a box" in capsys.readouterr().out
    left, corner = np.zeros((2, 10, 5), bool)
    left[:, :2] = True
    corner[:2, :1] = True
    assert segments_of(tmp_path / "out") == {"a.jpg": set()}
    assert segments_of(tmp_path / "out", "val") == {
        "b.jpg": {("a", False, pixels(corner)), ("b", True, pixels(left & ~corner))}
    }
