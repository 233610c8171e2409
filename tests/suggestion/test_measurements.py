from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.suggestion.measurements import Measurements, highest_overlaps, measure, relative_extents


def measured(root: Path) -> Measurements:
    annotations = PanopticAnnotations.load(root / "annotations" / "panoptic_train.json")
    return measure(annotations, annotations.default_segments_folder)


def test_what_the_json_says_is_what_it_lists(shapes_root: Path) -> None:
    truth = json.loads((shapes_root / "annotations" / "panoptic_train.json").read_text(encoding="utf-8"))
    things = {category["id"] for category in truth["categories"] if category["isthing"]}
    segments = [s for row in truth["annotations"] for s in row["segments_info"] if not s["iscrowd"]]
    boxes = [s["bbox"] for s in segments if s["category_id"] in things]
    found = measured(shapes_root)
    assert found.boxes.tolist() == [[x, y, x + w, y + h] for x, y, w, h in boxes]
    assert sorted(found.stuff_areas) == sorted(s["area"] for s in segments if s["category_id"] not in things)
    assert found.things.sum() == len(boxes)
    assert found.sizes.tolist() == [[image["height"], image["width"]] for image in truth["images"]]


def test_id_maps_say_the_same_where_the_json_leaves_it_out(shapes_root: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(shapes_root, tmp_path / "bare")
    path = bare / "annotations" / "panoptic_train.json"
    truth = json.loads(path.read_text(encoding="utf-8"))
    for row in truth["annotations"]:
        for segment in row["segments_info"]:
            del segment["bbox"], segment["area"]
    path.write_text(json.dumps(truth), encoding="utf-8")
    left, right = measured(shapes_root), measured(bare)
    assert (left.things == right.things).all()
    assert sorted(map(tuple, left.boxes)) == sorted(map(tuple, right.boxes))
    assert sorted(left.labels) == sorted(right.labels)
    assert sorted(left.stuff_areas) == sorted(right.stuff_areas)


def made(things: list[int], boxes: np.ndarray, labels: list[int]) -> Measurements:
    sizes = np.array([(50, 100), (80, 40)][: len(things)])
    categories = Categories.from_json([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    no_areas, present = np.zeros(0, np.int64), np.ones((len(things), 2), bool)
    return Measurements(categories, sizes, np.array(things), boxes, np.array(labels), no_areas, present)


def test_extents_are_shares_of_the_image_they_are_in() -> None:
    boxes = np.array([[0, 0, 25, 10], [0, 0, 10, 50], [4, 0, 8, 8.0]])
    assert relative_extents(made([2, 1], boxes, [0, 0, 0])) == pytest.approx([25 / 50, 50 / 50, 8 / 40])


def test_overlaps_are_those_of_the_same_image_and_category() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, (40, 2))
    boxes, labels = np.hstack([corners, corners + rng.uniform(1, 20, (40, 2))]), rng.integers(0, 2, 40).tolist()
    expected = [0.0] * 40
    for i, j in itertools.permutations(range(40), 2):
        if (i < 25) == (j < 25) and labels[i] == labels[j]:
            (a, b, c, d), (e, f, g, h) = boxes[i], boxes[j]
            shared = max(0, min(c, g) - max(a, e)) * max(0, min(d, h) - max(b, f))
            expected[i] = max(expected[i], shared / ((c - a) * (d - b) + (g - e) * (h - f) - shared))
    assert highest_overlaps(made([25, 15], boxes, labels)) == pytest.approx(expected)
