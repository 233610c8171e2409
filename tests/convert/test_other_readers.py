"""What a conversion gives, opened by the tools that others read such data with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from tests.convert.scenes import convert_dataset, random_blobs, write_image, write_map

Meanings = dict[int, tuple[str, np.ndarray]]


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """Four images in folders with objects and stuff, out of maps."""
    source = tmp_path / "source"
    for number in range(4):
        name = f"day {number % 2}/{number}.png"
        write_image(source / "images" / name.replace("png", "jpg"), 30, 40)  # detectron2 takes no others
        blobs = random_blobs(np.random.default_rng(number), 30, 40, 9)
        write_map(source / "labels" / name, (blobs % 4).astype(np.uint8))
        write_map(source / "instances" / name, blobs.astype(np.uint16))
    (source / "names.txt").write_text("0 void\n1 road\n2 car\n3 person\n")
    options = ["--labels", str(source / "names.txt"), "--things", "car,person", "--name", "val"]
    assert convert_dataset(source, tmp_path / "out", *options) == 0
    return tmp_path / "out"


def segments(root: Path) -> dict[str, Meanings]:
    """Category and pixels of every segment, by image and id, as we read them."""
    annotations = PanopticAnnotations.load(root / "annotations" / "panoptic_val.json")
    found = {}
    for record in annotations:
        id_map = read_segments(record, root / "panoptic_val", annotations.categories, "")
        names = {s.id: annotations.categories.by_id(s.category_id).name for s in record.segments}
        found[record.file_name] = {i: (name, id_map == i) for i, name in names.items()}
    assert sum(map(len, found.values())) > 10
    return found


def test_panopticapi_finds_every_segment(converted: Path):
    pytest.importorskip("panopticapi.evaluation")
    from panopticapi.evaluation import pq_compute
    from panopticapi.utils import rgb2id

    path, folder = converted / "annotations" / "panoptic_val.json", converted / "panoptic_val"
    content = json.loads(path.read_text())
    names = {row["id"]: row["name"] for row in content["categories"]}
    files = {row["id"]: row["file_name"] for row in content["images"]}
    expected = segments(converted)
    for row in content["annotations"]:
        ids = rgb2id(np.asarray(Image.open(folder / row["file_name"])))
        for segment in row["segments_info"]:
            name, mask = expected[files[row["image_id"]]][segment["id"]]
            assert names[segment["category_id"]] == name
            assert np.array_equal(ids == segment["id"], mask)
            x, y, width, height = segment["bbox"]
            assert mask[y : y + height, x : x + width].sum() == segment["area"] == mask.sum()
    assert pq_compute(str(path), str(path), str(folder), str(folder))["All"]["pq"] == 1


def test_pycocotools_reads_the_instances(converted: Path, tmp_path: Path):
    path = converted / "annotations" / "panoptic_val.json"
    assert main(["convert-dataset", str(path), "--to", "coco-instances", "--output", str(tmp_path / "back")]) == 0
    read = COCO(str(tmp_path / "back" / "annotations" / "instances_val.json"))
    for image in read.loadImgs(read.getImgIds()):
        rows = read.loadAnns(read.getAnnIds(imgIds=[image["id"]]))
        expected = segments(converted)[image["file_name"]].values()
        found = {(read.loadCats(row["category_id"])[0]["name"], read.annToMask(row).tobytes()) for row in rows}
        assert found == {(name, mask.astype(np.uint8).tobytes()) for name, mask in expected}


def test_detectron2_loads_both(converted: Path, tmp_path: Path):
    pytest.importorskip("detectron2", reason="needs detectron2")
    from detectron2.data.datasets.coco import load_coco_json
    from detectron2.data.datasets.coco_panoptic import load_coco_panoptic_json
    from panopticapi.utils import rgb2id

    path, expected = converted / "annotations" / "panoptic_val.json", segments(converted)
    categories = json.loads(path.read_text())["categories"]
    names = {row["id"]: row["name"] for row in categories}
    meta = {
        "thing_dataset_id_to_contiguous_id": {row["id"]: row["id"] for row in categories if row["isthing"]},
        "stuff_dataset_id_to_contiguous_id": {row["id"]: row["id"] for row in categories if not row["isthing"]},
    }
    rows = load_coco_panoptic_json(str(path), str(converted / "val"), str(converted / "panoptic_val"), meta)
    assert len(rows) == len(expected)
    for row in rows:
        name = str(Path(row["file_name"]).relative_to(converted / "val"))
        ids = rgb2id(np.asarray(Image.open(row["pan_seg_file_name"])))
        assert {s["id"] for s in row["segments_info"]} == set(expected[name])
        for segment in row["segments_info"]:
            category, mask = expected[name][segment["id"]]
            assert names[segment["category_id"]] == category
            assert segment["isthing"] == (category != "road")
            assert np.array_equal(ids == segment["id"], mask)
    assert main(["convert-dataset", str(path), "--to", "coco-instances", "--output", str(tmp_path / "back")]) == 0
    instances = tmp_path / "back" / "annotations" / "instances_val.json"
    rows = load_coco_json(str(instances), str(converted / "val"), "converted_instances")
    assert sorted(len(row["annotations"]) for row in rows) == sorted(map(len, expected.values()))
