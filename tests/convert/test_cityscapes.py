from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.segments_png import write_id_map
from tests.convert.scenes import (
    convert_dataset,
    pixels,
    random_blobs,
    segments_of,
    segments_of_maps,
    write_image,
    write_map,
)

NAMES = {7: "road", 11: "building", 24: "person", 26: "car"}


def one_row(*values: int) -> bytes:
    return pixels(np.array([values], bool))


def write_scene(root: Path, labels: np.ndarray, instances: np.ndarray) -> None:
    """One training image; instance 0 is a group."""
    write_image(root / "leftImg8bit" / "train" / "ulm" / "ulm_000001_000019_leftImg8bit.png", *labels.shape)
    ids = np.where((labels >= 24) & (instances > 0), labels * 1000 + instances - 1, labels)
    write_map(root / "gtFine" / "train" / "ulm" / "ulm_000001_000019_gtFine_instanceIds.png", ids.astype(np.uint16))


@pytest.mark.parametrize(("folder", "is_group"), [("dataset", True), ("train_dataset", False)])
def test_the_published_layout(folder: str, is_group: bool, shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "cityscapes_dataset" / folder
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like cityscapes" in capsys.readouterr().out
    last = {("truck", True, one_row(0, 0, 1, 1, 1))}
    if not is_group:
        last = {("truck", False, one_row(0, 0, 1, 0, 0)), ("truck", False, one_row(0, 0, 0, 1, 1))}
    assert segments_of(tmp_path / "out", "test") == {
        "defaultcity/defaultcity_000001_000031_leftImg8bit.png": last,
        "defaultcity/defaultcity_000001_000032_leftImg8bit.png": {
            ("train", is_group, one_row(1, 1, 0, 0, 0)),
            ("wall", False, one_row(0, 0, 1, 0, 0)),
        },
    }
    assert segments_of(tmp_path / "out", "train") == {
        "defaultcity/defaultcity_000002_000045_leftImg8bit.png": {("person", is_group, one_row(0, 0, 1, 0, 0))}
    }


def test_labels_that_the_evaluation_ignores_are_void_unless_named(shared: Path, tmp_path: Path):
    source = shared / "fixtures" / "datumaro" / "cityscapes_dataset" / "dataset"
    assert convert_dataset(source, tmp_path / "out") == 0
    (found,) = segments_of(tmp_path / "out", "val").values()
    assert found == set()
    assert convert_dataset(source, tmp_path / "named", "--stuff", "ego vehicle,out of roi") == 0
    (found,) = segments_of(tmp_path / "named", "val").values()
    assert found == {
        ("ego vehicle", False, one_row(0, 1, 1, 0, 0)),
        ("out of roi", False, one_row(1, 0, 0, 1, 1)),
    }


def test_the_categories_are_those_that_are_evaluated(shared: Path, tmp_path: Path):
    source = shared / "fixtures" / "datumaro" / "cityscapes_dataset" / "dataset"
    assert convert_dataset(source, tmp_path / "out") == 0
    categories = PanopticAnnotations.load(tmp_path / "out" / "annotations" / "panoptic_val.json").categories
    assert (len(categories.stuff), len(categories.things)) == (11, 8)
    assert [(c.id, c.name) for c in categories.things] == [
        (24, "person"),
        (25, "rider"),
        (26, "car"),
        (27, "truck"),
        (28, "bus"),
        (31, "train"),
        (32, "motorcycle"),
        (33, "bicycle"),
    ]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_every_object_keeps_its_pixels(seed: int):
    generator = np.random.default_rng(seed)
    labels = np.array([3, 7, 11, 24, 26])[random_blobs(generator, 9, 12, 4)]
    instances = random_blobs(generator, 9, 12, 5)
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder) / "source", labels, instances)
        assert convert_dataset(Path(folder) / "source", Path(folder) / "out") == 0
        (found,) = segments_of(Path(folder) / "out").values()
        assert found == segments_of_maps(labels, instances, NAMES, ("person", "car"))


def test_the_official_panoptic_json_is_taken_as_it_is(tmp_path: Path, capsys):
    id_map = np.array([[7, 7, 26001, 26002, 0]], np.int32)
    rows = [(7, 7, 0), (26001, 26, 0), (26002, 26, 1)]
    categories = [(7, "road", 0), (26, "car", 1)]
    truth = {
        "images": [
            {
                "id": "ulm_000001_000019",
                "file_name": "ulm_000001_000019_gtFine_leftImg8bit.png",
                "width": 5,
                "height": 1,
            }
        ],
        "annotations": [
            {
                "image_id": "ulm_000001_000019",
                "file_name": "ulm_000001_000019_gtFine_panoptic.png",
                "segments_info": [{"id": i, "category_id": c, "iscrowd": crowd} for i, c, crowd in rows],
            }
        ],
        "categories": [{"id": i, "name": name, "isthing": thing} for i, name, thing in categories],
    }
    folder = tmp_path / "gtFine"
    write_id_map(folder / "cityscapes_panoptic_val" / "ulm_000001_000019_gtFine_panoptic.png", id_map)
    (folder / "cityscapes_panoptic_val.json").write_text(json.dumps(truth))
    write_image(tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_000001_000019_leftImg8bit.png", 1, 5)
    assert convert_dataset(folder / "cityscapes_panoptic_val.json", tmp_path / "out") == 0
    assert "looks like cityscapes" in capsys.readouterr().out
    assert segments_of(tmp_path / "out", "val") == {
        "ulm/ulm_000001_000019_leftImg8bit.png": {
            ("road", False, one_row(1, 1, 0, 0, 0)),
            ("car", False, one_row(0, 0, 1, 0, 0)),
            ("car", True, one_row(0, 0, 0, 1, 0)),
        }
    }
    del truth["annotations"][0]["segments_info"][0]
    (folder / "cityscapes_panoptic_val.json").write_text(json.dumps(truth))
    assert convert_dataset(folder / "cityscapes_panoptic_val.json", tmp_path / "bad") == 1
    assert "cityscapes_panoptic_val.json: image ulm_000001_000019: " in capsys.readouterr().err
    truth["images"][0]["id"] = truth["annotations"][0]["image_id"] = "../../x"
    (folder / "cityscapes_panoptic_val.json").write_text(json.dumps(truth))
    assert convert_dataset(folder / "cityscapes_panoptic_val.json", tmp_path / "bad") == 1
    assert "leaves its folder" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


MAP = Path("gtFine/train/ulm/ulm_000001_000019_gtFine_instanceIds.png")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / MAP).unlink(), f"has no label map {{source}}/{MAP}"),
        (lambda s: (s / MAP).write_bytes((s / MAP).read_bytes()[:50]), f"{MAP}: cannot be read as a label map"),
        (lambda s: write_map(s / MAP, np.full((2, 3), 45001, np.uint16)), "6 pixels have the value 45, which nobody"),
        (lambda s: write_map(s / MAP, np.zeros((2, 3, 3), np.uint8)), f"{MAP}: is in colour"),
        (lambda s: write_map(s / MAP, np.full((3, 3), 7, np.uint8)), "is 3 x 2, but its labels are made for 3 x 3"),
        (lambda s: write_map(s / str(MAP).replace("19", "20"), np.full((2, 3), 7, np.uint8)), "has no image in"),
        (lambda s: (s / "leftImg8bit/train").rename(s / "leftImg8bit/training"), "has no folder that"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_scene(source, np.full((2, 3), 7), np.zeros((2, 3), int))
    break_it(source)
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said.format(source=source) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
