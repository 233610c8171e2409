from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from tests.convert.scenes import convert_dataset, pixels, segments_of, write_image, write_map

CAMVID_COLORS = {
    "Void": (0, 0, 0),
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Child": (192, 128, 64),
    "Road": (128, 64, 128),
    "Sky": (128, 128, 128),
    "Tree": (128, 128, 0),
}


def one_row(*values: int) -> bytes:
    return pixels(np.array([values], bool))


def test_camvid_in_the_layout_of_segnet_with_colours(shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "camvid_dataset"
    colors = tmp_path / "label_colors.txt"
    colors.write_text("".join(f"{r} {g} {b}\t{name}\n" for name, (r, g, b) in CAMVID_COLORS.items()))
    assert convert_dataset(source, tmp_path / "out", "--labels", str(colors), "--things", "Bicyclist") == 0
    assert "looks like label-maps" in capsys.readouterr().out
    assert segments_of(tmp_path / "out", "test") == {
        "0001TP_008550.png": {
            ("Animal", False, one_row(1, 1, 0, 0, 0)),
            ("Road", False, one_row(0, 0, 1, 0, 0)),
            ("Sky", False, one_row(0, 0, 0, 1, 1)),
        },
        "0001TP_008580.png": {
            ("Archway", False, one_row(1, 1, 0, 0, 0)),
            ("Bridge", False, one_row(0, 0, 1, 0, 0)),
            ("Tree", False, one_row(0, 0, 0, 1, 1)),
        },
    }
    assert segments_of(tmp_path / "out", "train") == {
        "0001TP_006690.png": {
            ("Bicyclist", False, one_row(1, 1, 0, 0, 0)),
            ("Bicyclist", False, one_row(0, 0, 0, 1, 1)),
            ("Road", False, one_row(0, 0, 1, 0, 0)),
        }
    }
    assert segments_of(tmp_path / "out", "val") == {
        "0016E5_07959.png": {
            ("Animal", False, one_row(1, 1, 1, 0, 0)),
            ("Child", False, one_row(0, 0, 0, 1, 1)),
        }
    }


def camvid_equals_its_panoptic_data_set(shared: Path, folder: Path, per_split: int | None) -> int:
    """Rebuild SegNet's layout from the panoptic CamVid, convert it, and compare all of it; the number of segments."""
    truth, source, compared = shared / "datasets" / "camvid_panoptic", folder / "SegNet", 0
    for split in ("train", "val"):
        annotations = PanopticAnnotations.load(truth / "annotations" / f"panoptic_{split}.json")
        names = [category.name for category in annotations.categories]
        for record in annotations[:per_split]:
            id_map = read_segments(record, truth / f"panoptic_{split}", annotations.categories, split)
            labels = np.full(id_map.shape, 11, np.uint8)
            for segment in record.segments:
                labels[id_map == segment.id] = names.index(annotations.categories.by_id(segment.category_id).name)
            write_map(source / f"{split}annot" / record.segments_file_name, labels)
            (source / split).mkdir(parents=True, exist_ok=True)
            shutil.copy(truth / split / record.file_name, source / split)
    (source / "names.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(names)) + "11 void\n")
    options = ["--things", "sign,car,pedestrian,bicyclist", "--min-area", "32"]
    assert convert_dataset(source, folder / "out", "--labels", str(source / "names.txt"), *options) == 0
    for split in ("train", "val"):
        files = [root / "annotations" / f"panoptic_{split}.json" for root in (truth, folder / "out")]
        expected, converted = (json.loads(file.read_text()) for file in files)
        for category in (*expected["categories"], *converted["categories"]):
            del category["color"], category["supercategory"]
        assert converted["categories"] == expected["categories"]
        assert converted["images"] == expected["images"][:per_split]
        assert converted["annotations"] == expected["annotations"][:per_split]
        for row in converted["annotations"]:
            name = Path(f"panoptic_{split}") / row["file_name"]
            assert np.array_equal(np.asarray(Image.open(truth / name)), np.asarray(Image.open(folder / "out" / name)))
            compared += len(row["segments_info"])
    return compared


def test_camvid_gives_the_panoptic_data_set(shared: Path, tmp_path: Path):
    assert camvid_equals_its_panoptic_data_set(shared, tmp_path, per_split=6) > 100


@pytest.mark.slow
def test_all_of_camvid_gives_the_panoptic_data_set(shared: Path, tmp_path: Path):
    assert camvid_equals_its_panoptic_data_set(shared, tmp_path, per_split=None) > 8000


def test_maps_in_another_folder(shared: Path, tmp_path: Path):
    source = shared / "fixtures" / "datumaro" / "common_semantic_segmentation_dataset" / "dataset"
    names = tmp_path / "label_colors.txt"
    names.write_text("".join(f"{r} {g} {b} {name}\n" for name, (r, g, b) in CAMVID_COLORS.items()))
    options = ["--from", "label-maps", "--labels", str(names), "--maps", str(source / "masks")]
    assert convert_dataset(source, tmp_path / "out", *options) == 0
    assert segments_of(tmp_path / "out") == {
        "0001.png": {("Bicyclist", False, one_row(1, 1, 0, 1, 1)), ("Road", False, one_row(0, 0, 1, 0, 0))},
        "0002.png": {("Animal", False, one_row(1, 1, 1, 0, 0)), ("Child", False, one_row(0, 0, 0, 1, 1))},
    }


@pytest.mark.parametrize("split", ["", "val/"])
def test_maps_may_have_one_more_ending(split: str, tmp_path: Path):
    for name in ("0001TP_006690", "0001TP_00669"):
        write_image(tmp_path / "source" / "images" / f"{split}{name}.png", 1, 3)
        write_map(tmp_path / "source" / "labels" / f"{split}{name}_L.png", np.array([[1, 0, 1]], np.uint8))
    (tmp_path / "names.txt").write_text("0 void\n1 road\n")
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--labels", str(tmp_path / "names.txt")) == 0
    road = {("road", False, one_row(1, 0, 1))}
    found = segments_of(tmp_path / "out", "val" if split else "train")
    assert found == {"0001TP_00669.png": road, "0001TP_006690.png": road}


def test_folders_of_splits_become_splits(tmp_path: Path):
    for split in ("training", "validation"):
        write_image(tmp_path / "source" / "images" / split / "a.jpg", 2, 3)
        write_map(tmp_path / "source" / "labels" / split / "a.png", np.ones((2, 3), np.uint8))
    (tmp_path / "names.txt").write_text("1 road\n")
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--labels", str(tmp_path / "names.txt")) == 0
    for split in ("train", "val"):
        assert segments_of(tmp_path / "out", split) == {"a.jpg": {("road", False, pixels(np.ones((2, 3), bool)))}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((2, 3, 3), (1, 2, 3), np.uint8), "holds colours, but the list of names has values"),
        (np.full((2, 3), 9, np.uint8), "a.png: 6 pixels have the value 9, which nobody named"),
    ],
)
def test_maps_that_the_names_do_not_fit(values: np.ndarray, said: str, tmp_path: Path, capsys):
    write_image(tmp_path / "source" / "images" / "a.jpg", 2, 3)
    write_map(tmp_path / "source" / "labels" / "a.png", values)
    (tmp_path / "names.txt").write_text("1 road\n")
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--labels", str(tmp_path / "names.txt")) == 1
    assert said in capsys.readouterr().err


def test_palettes_are_read_by_value_or_by_colour(tmp_path: Path):
    write_image(tmp_path / "source" / "images" / "a.jpg", 1, 3)
    image = Image.fromarray(np.array([[0, 1, 1]], np.uint8), "P")
    image.putpalette([0, 0, 0, 10, 20, 30])
    (tmp_path / "source" / "labels").mkdir()
    image.save(tmp_path / "source" / "labels" / "a.png")
    for name, text in {"values": "0 void\n1 road\n", "colours": "0 0 0 void\n10 20 30 road\n"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
        options = ["--labels", str(tmp_path / f"{name}.txt")]
        assert convert_dataset(tmp_path / "source", tmp_path / name, *options) == 0
        assert segments_of(tmp_path / name) == {"a.jpg": {("road", False, one_row(0, 1, 1))}}


def test_a_colour_that_nobody_named(tmp_path: Path, capsys):
    write_image(tmp_path / "source" / "images" / "a.jpg", 2, 3)
    write_map(tmp_path / "source" / "labels" / "a.png", np.full((2, 3, 3), (1, 2, 3), np.uint8))
    (tmp_path / "names.txt").write_text("9 9 9 road\n")
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--labels", str(tmp_path / "names.txt")) == 1
    assert "a.png: 6 pixels have the colour 1, 2, 3 (R, G, B), which nobody named" in capsys.readouterr().err
