from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.truth import TrueSegment, TruthWriter, segments_info
from panoptic_blend.errors import DatasetError

CATEGORIES = Categories.from_json([{"id": 3, "name": "car", "isthing": 1}, {"id": 9, "name": "road", "isthing": 0}])


def write(root: Path, *images: tuple[str, dict[int, TrueSegment]]) -> None:
    """A split of images of one pixel, of id 7."""
    with TruthWriter(root, "train", CATEGORIES) as writer:
        for name, meaning in images:
            writer.write(name, np.array([[7]], np.int32), meaning)


@given(npst.arrays(np.int32, npst.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.integers(0, 5)))
def test_areas_and_boxes_are_those_of_the_pixels(id_map: np.ndarray):
    meaning = {i: TrueSegment(3, i == 2) for i in range(1, 6)}
    rows = segments_info(id_map, meaning)
    assert [row["id"] for row in rows] == sorted(set(id_map.ravel().tolist()) - {0})
    for row in rows:
        ys, xs = np.nonzero(id_map == row["id"])
        assert row["area"] == len(ys)
        assert row["bbox"] == [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
        assert row["iscrowd"] == (row["id"] == 2)


def test_what_is_written_reads_back(tmp_path: Path):
    maps = [np.array([[0, 7], [300, 7]], np.int32), np.array([[70000, 70000, 0]], np.int32)]
    with TruthWriter(tmp_path, "train", CATEGORIES, {"year": 2020}) as writer:
        writer.write("a/street.jpg", maps[0], {7: TrueSegment(3), 300: TrueSegment(9)})
        writer.write("a/street.png", maps[1], {70000: TrueSegment(3, is_crowd=True), 5: TrueSegment(9)})
    path = tmp_path / "annotations" / "panoptic_train.json"
    annotations = PanopticAnnotations.load(path)
    assert annotations.categories == CATEGORIES
    assert json.loads(path.read_text())["info"] == {"year": 2020}
    assert [record.segments_file_name for record in annotations] == ["a/street.png", "a/street.png.png"]
    for record, id_map in zip(annotations, maps, strict=True):
        assert np.array_equal(read_segments(record, annotations.default_segments_folder, CATEGORIES, path), id_map)
    assert [s.is_crowd for s in annotations[1].segments] == [True]


def test_a_failure_leaves_nothing_new_and_what_was_there_as_it_was(tmp_path: Path):
    write(tmp_path, ("a.jpg", {7: TrueSegment(3)}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, meaning, message in (
        ("b.jpg", {}, "id 7 has 1 pixels"),
        ("b.jpg", {7: TrueSegment(4)}, "category_id 4"),
        ("../b.jpg", {7: TrueSegment(3)}, "leaves its folder"),
    ):
        with pytest.raises(DatasetError, match=message):
            write(tmp_path, ("a.jpg", {7: TrueSegment(9)}), (name, meaning))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("names", [("a.jpg", "a.jpg"), ("a.jpg", "A.JPG", "a.jpg")])
def test_no_image_is_written_over_another(names: tuple[str, ...], tmp_path: Path):
    with pytest.raises(DatasetError, match="two images are named"):
        write(tmp_path, *((name, {7: TrueSegment(3)}) for name in names))


def test_ids_that_a_png_cannot_hold_are_told_with_the_image(tmp_path: Path):
    with (
        pytest.raises(DatasetError, match=r"panoptic_train\.json: b\.jpg: segment ids run from 16777216 to 16777216"),
        TruthWriter(tmp_path, "train", CATEGORIES) as writer,
    ):
        writer.write("b.jpg", np.array([[2**24]], np.int32), {2**24: TrueSegment(3)})
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
