from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset
from panoptic_blend.config import DataConfig
from tests.convert.scenes import convert_dataset as convert
from tests.convert.scenes import random_blobs, write_image

NAMES = {1: "road", 2: "car", 3: "sign"}


@pytest.fixture
def label_maps(tmp_path: Path) -> Path:
    """Ten images in two folders with maps of road, car, sign and void."""
    source = tmp_path / "source"
    for number in range(10):
        name = f"drive{number % 2}/{number}"
        for folder in ("images", "labels"):
            (source / folder / name).parent.mkdir(parents=True, exist_ok=True)
        labels = random_blobs(np.random.default_rng(number), 20, 30, 3).astype(np.uint8)
        Image.fromarray(np.stack([labels * 50] * 3, axis=2)).save(source / "images" / f"{name}.jpg")
        Image.fromarray(labels).save(source / "labels" / f"{name}.png")
    (source / "names.txt").write_text("0 void\n" + "".join(f"{value} {name}\n" for value, name in NAMES.items()))
    return source


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_label_maps_become_a_data_set_that_training_reads(label_maps: Path, tmp_path: Path, capsys):
    output = tmp_path / "out"
    options = ["--labels", str(label_maps / "names.txt"), "--things", "car", "--split", "0.5,0.5"]
    assert convert(label_maps, output, *options) == 0
    assert "looks like label-maps" in capsys.readouterr().out
    config = DataConfig()
    for images, json_name in (
        (config.train_images, config.train_annotations),
        (config.val_images, config.val_annotations),
    ):
        annotations = PanopticAnnotations.load(output / json_name)
        dataset = EvaluationDataset(annotations, output / images, annotations.default_segments_folder)
        assert len(dataset) == 5
        assert len({record.file_name.split("/")[0] for record in annotations}) == 1, "folders stay together"
        for index in range(5):
            sample = dataset[index]
            labels = np.asarray(Image.open(label_maps / "labels" / sample.record.file_name.replace(".jpg", ".png")))
            assert sample.id_map is not None
            assert np.array_equal(sample.id_map > 0, labels > 0)
            for segment in sample.record.segments:
                name = annotations.categories.by_id(segment.category_id).name
                assert {NAMES[value] for value in np.unique(labels[sample.id_map == segment.id])} == {name}


def test_same_source_same_bytes_whatever_the_processes(label_maps: Path, tmp_path: Path):
    options = ["--labels", str(label_maps / "names.txt"), "--things", "car"]
    assert convert(label_maps, tmp_path / "one", *options, "--workers", "1") == 0
    assert convert(label_maps, tmp_path / "two", *options, "--workers", "2") == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_categories_are_renamed_merged_and_dropped(label_maps: Path, tmp_path: Path):
    options = ["--labels", str(label_maps / "names.txt"), "--things", "car,sign", "--merge", "car,sign=object"]
    assert convert(label_maps, tmp_path / "out", *options, "--drop", "road") == 0
    rows = json.loads((tmp_path / "out" / "annotations" / "panoptic_train.json").read_text())["categories"]
    assert [(row["name"], row["isthing"]) for row in rows] == [("object", 1)]


@pytest.mark.parametrize("mode", ["--copy", "--link", "--leave"])
def test_images_are_copied_linked_or_left(mode: str, label_maps: Path, tmp_path: Path):
    output = tmp_path / "out"
    assert convert(label_maps, output, "--labels", str(label_maps / "names.txt"), mode) == 0
    (first, *_) = PanopticAnnotations.load(output / "annotations" / "panoptic_train.json")
    image = (label_maps / "images" if mode == "--leave" else output / "train") / first.file_name
    assert image.is_file()
    assert image.is_symlink() == (mode == "--link")
    assert (output / "train").exists() == (mode != "--leave")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / "labels" / "drive0" / "4.png").write_bytes(b"\x89PNG broken"), "drive0/4.png: cannot be read"),
        (lambda s: (s / "labels" / "drive1" / "3.png").unlink(), "drive1/3.jpg: has no label map"),
        (lambda s: (s / "names.txt").write_text("1 road\n2 car\n3 sign\n"), "have the value 0, which nobody named"),
        (lambda s: (s / "names.txt").write_text("1 road\n1 car\n"), "the value 1 is there twice"),
        (lambda s: (s / "names.txt").write_text("road\n"), "line 1: 'road' is neither"),
        (lambda s: Image.new("RGB", (9, 9)).save(s / "images" / "drive0" / "0.jpg"), "is 9 x 9, but its labels are"),
        (lambda s: (s / "images" / "drive1" / "5.jpg").write_bytes(b"no image"), "drive1/5.jpg: is not an image"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, label_maps: Path, tmp_path: Path, capsys):
    break_it(label_maps)
    before = sorted(tmp_path.iterdir())
    assert convert(label_maps, tmp_path / "out", "--labels", str(label_maps / "names.txt"), "--things", "car") == 1
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_all_losses_are_in_a_file_and_twenty_on_the_terminal(label_maps: Path, tmp_path: Path, capsys):
    for path in (label_maps / "labels").rglob("*.png"):
        Image.fromarray(np.kron(np.eye(10, 15), np.full((2, 2), 2)).astype(np.uint8)).save(path)
        for number in range(2):
            for folder, end in (("images", ".jpg"), ("labels", ".png")):
                old = label_maps / folder / path.relative_to(label_maps / "labels").with_suffix(end)
                (old.with_name(f"{old.stem}{number}{end}")).write_bytes(old.read_bytes())
    options = ["--labels", str(label_maps / "names.txt"), "--things", "car", "--min-area", "41"]
    options += ["--drop", "road"]
    Image.fromarray(np.full((20, 30), 3, np.uint8)).save(label_maps / "labels" / "drive0" / "0.png")
    assert convert(label_maps, tmp_path / "out", *options) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lost: ")]
    lines = (tmp_path / "out" / "summary.txt").read_text().splitlines()
    lost = [line for line in lines if line.startswith("lost: ")]
    assert lines[0] == "train: 30 images"
    assert "         0 car (thing)" in lines
    assert len(lost) == 29
    assert lost[-1] == "lost: drive1/91.jpg: 1 parts of 'car' below 41 pixels"
    assert shown == lost[:20]


def test_a_used_folder_is_left_alone(label_maps: Path, tmp_path: Path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert convert(label_maps, tmp_path / "out", "--labels", str(label_maps / "names.txt")) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--things", "cars"], "no category 'cars'. Did you mean car?"),
        (["--things", "car", "--stuff", "car"], "in --things and in --stuff"),
        (["--merge", "car,road=x", "--things", "car"], "made of things and stuff"),
        (["--split", "0.5,0.6"], "add up to 1"),
        (["--split", "0.5,0.5", "--group-by", "("], "not a valid regular expression"),
        (["--rename", "car"], "write it as OLD=NEW"),
    ],
)
def test_wrong_choices_are_refused(options: list[str], said: str, label_maps: Path, tmp_path: Path, capsys):
    assert convert(label_maps, tmp_path / "out", "--labels", str(label_maps / "names.txt"), *options) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_two_images_of_one_name_are_both_told(tmp_path: Path, capsys):
    """Two lists of YOLO's name their images by what follows their own folders."""
    root = tmp_path / "yolo"
    for part in ("first", "second"):
        write_image(root / part / "images" / "a.png", 20, 30)
    (root / "first" / "labels").mkdir()
    (root / "first" / "labels" / "a.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9")
    for part in ("first", "second"):
        (root / part / "list.txt").write_text("images/a.png\n")
    (root / "data.yaml").write_text("train: [first/list.txt, second/list.txt]\nnames: [car]\n")
    assert convert(root, tmp_path / "out", "--from", "yolo-seg") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "first/images/a.png and " in said
    assert "second/images/a.png: two images are named 'images/a.png'" in said


def test_names_may_have_commas_and_options_be_repeated(label_maps: Path, tmp_path: Path):
    names = label_maps / "names.txt"
    names.write_text("0 void\n1 road, route\n2 car\n3 sign\n")
    options = ["--labels", str(names), "--stuff", 'sign,"road, route"', "--things", "car"]
    assert convert(label_maps, tmp_path / "first", *options) == 0
    repeated = ["--labels", str(names), "--stuff", "sign", "--stuff", '"road, route"', "--things", "car"]
    assert convert(label_maps, tmp_path / "second", *repeated) == 0
    assert digests(tmp_path / "first") == digests(tmp_path / "second")
    content = json.loads((tmp_path / "first" / "annotations" / "panoptic_train.json").read_text())
    assert {each["name"]: each["isthing"] for each in content["categories"]} == {"road, route": 0, "car": 1, "sign": 0}
