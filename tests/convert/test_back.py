"""COCO panoptic data in another format, and back again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from panoptic_blend.categories import Categories
from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.coco.truth import TrueSegment, TruthWriter
from panoptic_blend.convert.formats import TARGETS
from panoptic_blend.structures import Segment
from tests.convert.scenes import convert_dataset, random_blobs, write_image
from tests.convert.test_conversion import digests

CATEGORIES = Categories.from_json(
    [
        {"id": 3, "name": "car", "isthing": 1},
        {"id": 300, "name": "road", "isthing": 0},
        {"id": 7, "name": "small cat", "isthing": 1},
        {"id": 1, "name": "sky", "isthing": 0},
    ]
)
STUFF = ["--stuff", "road,sky"]
HEIGHT, WIDTH = 30, 41


def scene(seed: int, with_crowds: bool = True) -> tuple[np.ndarray, dict[int, TrueSegment]]:
    """A map with holes, parts and void; ids count from 1 by category, a crowd before its objects."""
    blobs = random_blobs(np.random.default_rng(seed), HEIGHT, WIDTH, 12)
    id_map, segments = np.zeros_like(blobs), {}
    for position, category in enumerate(CATEGORIES):
        own = [n for n in np.unique(blobs).tolist() if n and n % len(CATEGORIES) == position]
        for group in [[n] for n in own] if category.is_thing else [own] * bool(own):
            segment_id, is_first = len(segments) + 1, group[0] == own[0]
            id_map[np.isin(blobs, group)] = segment_id
            segments[segment_id] = TrueSegment(category.id, with_crowds and category.is_thing and is_first)
    return id_map, segments


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Eight images in folders, with things, crowds and stuff."""
    root = tmp_path / "data"
    with TruthWriter(root, "val", CATEGORIES) as writer:
        for number in range(8):
            write_image(root / "val" / f"day {number % 2}" / f"{number}.png", HEIGHT, WIDTH)
            writer.write(f"day {number % 2}/{number}.png", *scene(number))
    return root


def convert_back(root: Path, output: Path, kind: str, *options: str, split: str = "val") -> int:
    annotations = root / "annotations" / f"panoptic_{split}.json"
    words = ["convert-dataset", str(annotations), "--to", kind, "--output", str(output), "--workers", "1"]
    return main([*words, "--images", str(root / split), *options])


def there_and_back(root: Path, folder: Path, kind: str, *options: str, split: str = "val") -> Path:
    """The data set that comes back; its split is named as it was."""
    assert convert_back(root, folder / kind, kind, split=split) == 0
    name = f"instances_{split}.json"
    source = folder / kind / "annotations" / name if kind == "coco-instances" else folder / kind
    assert convert_dataset(source, folder / "back", "--name", split, *options) == 0
    return folder / "back"


def load(root: Path, split: str = "val") -> tuple[PanopticAnnotations, dict[str, np.ndarray]]:
    annotations = PanopticAnnotations.load(root / "annotations" / f"panoptic_{split}.json")
    folder = root / f"panoptic_{split}"
    return annotations, {r.file_name: read_segments(r, folder, annotations.categories, "") for r in annotations}


MASK_FORMATS = {
    "coco-instances": [],
    "label-maps": ["--labels", "{}/names.txt", "--things", "car,small cat"],
}


@pytest.mark.parametrize("kind", MASK_FORMATS)
def test_mask_formats_give_the_same_ids_back(kind: str, data_set: Path, tmp_path: Path):
    options = [option.format(tmp_path / kind) for option in MASK_FORMATS[kind]]
    before, maps = load(data_set)
    after, converted = load(there_and_back(data_set, tmp_path, kind, *options))
    assert {each.name: each.is_thing for each in after.categories} == {c.name: c.is_thing for c in CATEGORIES}
    names = [{each.id: each.name for each in annotations.categories} for annotations in (before, after)]
    assert sorted(maps) == sorted(converted)
    by_name = {record.file_name: record for record in after}
    for record in before:
        assert np.array_equal(maps[record.file_name], converted[record.file_name])
        expected, found = (
            [(s.id, name[s.category_id], s.is_crowd, s.area, s.bbox) for s in sorted(r.segments, key=lambda s: s.id)]
            for r, name in zip((record, by_name[record.file_name]), names, strict=True)
        )
        assert expected == found


def worst_iou(before: Path, after: Path, split: str = "val", crowds: bool = True) -> float:
    """Of every segment with the one of its category, crowd or not, that it has most in common with."""
    truth, maps = load(before, split)
    found, converted = load(after, split)
    records = {record.file_name: record for record in found}
    worst = 1.0
    for record in truth:
        expected = {s.id: s for s in record.segments if crowds or not s.is_crowd}
        others = {s.id: s for s in records[record.file_name].segments}
        assert len(expected) == len(others)
        both = maps[record.file_name].astype(np.int64) << 32 | converted[record.file_name]
        best = dict.fromkeys(expected, 0.0)
        for pair, common in zip(*(each.tolist() for each in np.unique(both, return_counts=True)), strict=True):
            one, two = expected.get(pair >> 32), others.get(pair & 0xFFFFFFFF)
            if one is not None and two is not None and one.is_crowd == two.is_crowd:
                names = truth.categories.by_id(one.category_id).name, found.categories.by_id(two.category_id).name
                if len(set(names)) == 1:
                    best[one.id] = max(best[one.id], common / (one.area + two.area - common))
        worst = min([worst, *best.values()])
    return worst


def test_labelme_gives_polygons_back(data_set: Path, tmp_path: Path):
    assert worst_iou(data_set, there_and_back(data_set, tmp_path, "labelme", *STUFF)) >= 0.97


def test_yolo_gives_polygons_back_but_crowds(data_set: Path, tmp_path: Path, capsys):
    assert worst_iou(data_set, there_and_back(data_set, tmp_path, "yolo-seg", *STUFF), crowds=False) >= 0.97
    crowds = sum(segment.is_crowd for record in load(data_set)[0] for segment in record.segments)
    lines = (tmp_path / "yolo-seg" / "summary.txt").read_text().splitlines()
    assert sum("a crowd of" in line for line in lines) == crowds > 0


@pytest.mark.parametrize("name", ["camvid_panoptic", "dsb2018_panoptic"])
@pytest.mark.parametrize("kind", ["labelme", "yolo-seg"])
def test_real_data_there_and_back(name: str, kind: str, shared: Path, tmp_path: Path):
    real, root = shared / "datasets" / name, tmp_path / "real"
    annotations, maps = load(real)
    with TruthWriter(root, "val", annotations.categories) as writer:
        for record in annotations[5:7]:
            (root / "val").mkdir(exist_ok=True)
            shutil.copy(real / "val" / record.file_name, root / "val")
            segments = {s.id: TrueSegment(s.category_id, s.is_crowd) for s in record.segments}
            writer.write(record.file_name, maps[record.file_name], segments)
    stuff = ",".join(each.name for each in annotations.categories.stuff)
    assert worst_iou(root, there_and_back(root, tmp_path, kind, "--stuff", stuff)) >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", ["camvid_panoptic", "dsb2018_panoptic"])
@pytest.mark.parametrize("kind", ["labelme", "yolo-seg"])
def test_all_real_data_there_and_back(name: str, kind: str, shared: Path, tmp_path: Path):
    real = shared / "datasets" / name
    stuff = ",".join(each.name for each in load(real)[0].categories.stuff)
    assert worst_iou(real, there_and_back(real, tmp_path, kind, "--stuff", stuff)) >= 0.97


def test_instances_are_what_pycocotools_reads(data_set: Path, tmp_path: Path):
    assert convert_back(data_set, tmp_path / "out", "coco-instances") == 0
    read = COCO(str(tmp_path / "out" / "annotations" / "instances_val.json"))
    annotations, maps = load(data_set)
    for record in annotations:
        rows = read.loadAnns(read.getAnnIds(imgIds=[record.image_id]))
        assert len(rows) == len(record.segments)
        for row, segment in zip(rows, sorted(record.segments, key=lambda each: each.id), strict=True):
            mask = maps[record.file_name] == segment.id
            assert np.array_equal(read.annToMask(row), mask)
            assert (row["area"], row["category_id"]) == (mask.sum(), segment.category_id)
            assert (tmp_path / "out" / "images" / "val" / record.file_name).is_file()


@pytest.fixture
def predictions(tmp_path: Path) -> tuple[Path, dict[int, Segment]]:
    """Predictions of one image, with scores."""
    id_map, true = scene(4, with_crowds=False)
    segments = {
        i: Segment(i, s.category_id, CATEGORIES.by_id(s.category_id).is_thing, 0.25 + i / 100, int((id_map == i).sum()))
        for i, s in true.items()
    }
    with PredictionWriter(tmp_path / "pred", CATEGORIES) as writer:
        writer.write(ImageRecord(9, "a.png", WIDTH, HEIGHT, "", []), id_map, list(segments.values()))
    return tmp_path / "pred" / "predictions.json", segments


def test_scores_are_kept_where_there_is_a_place(predictions: tuple[Path, dict[int, Segment]], tmp_path: Path, capsys):
    path, segments = predictions
    for kind in TARGETS:
        assert main(["convert-dataset", str(path), "--to", kind, "--output", str(tmp_path / kind)]) == 0
        left_out = f"The scores of {len(segments)} segments are left out" in " ".join(capsys.readouterr().out.split())
        assert left_out == (kind in ("label-maps", "yolo-seg"))
    rows = json.loads((tmp_path / "coco-instances" / "annotations" / "instances_predictions.json").read_text())
    assert [row["score"] for row in rows["annotations"]] == [segments[i].score for i in sorted(segments)]
    shapes = json.loads((tmp_path / "labelme" / "a.json").read_text())["shapes"]
    assert {s["description"] for s in shapes} == {f"score {each.score}" for each in segments.values()}
    labels = np.asarray(Image.open(tmp_path / "label-maps" / "labels" / "a.png"))
    id_map = read_id_map(path.parent / "predictions" / "a.png")
    for segment in segments.values():
        assert set(labels[id_map == segment.id].tolist()) == {segment.category_id}


def test_same_data_same_bytes_whatever_the_processes(data_set: Path, tmp_path: Path):
    for kind in TARGETS:
        assert convert_back(data_set, tmp_path / f"{kind}1", kind, "--workers", "1") == 0
        assert convert_back(data_set, tmp_path / f"{kind}2", kind, "--workers", "2") == 0
        assert digests(tmp_path / f"{kind}1") == digests(tmp_path / f"{kind}2")


def test_images_are_copied_or_linked_or_not_there(data_set: Path, tmp_path: Path):
    image = "day 0/0.png"
    assert convert_back(data_set, tmp_path / "copy", "labelme") == 0
    assert not (tmp_path / "copy" / image).is_symlink()
    assert convert_back(data_set, tmp_path / "link", "labelme", "--link") == 0
    assert (tmp_path / "link" / image).is_symlink()
    assert convert_back(data_set, tmp_path / "leave", "labelme", "--leave") == 0
    assert not (tmp_path / "leave" / image).exists()
    assert json.loads((tmp_path / "leave" / "day 0" / "0.json").read_text())["imagePath"] == "0.png"


def rewrite(root: Path, edit: object) -> None:
    path = root / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    edit(content)  # type: ignore[operator]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda r: (r / "val" / "day 1" / "3.png").unlink(), "day 1/3.png: no such image"),
        (lambda r: Image.new("RGB", (9, 9)).save(r / "val" / "day 1" / "3.png"), "is 9 x 9, but its annotation is"),
        (lambda r: (r / "panoptic_val" / "day 1" / "5.png").write_bytes(b"\x89PNG"), "day 1/5.png: not a PNG file"),
        (lambda r: rewrite(r, lambda c: c["categories"][1].update(name="car")), "2 categories are named 'car'"),
        (lambda r: rewrite(r, lambda c: c.update(images=[], annotations=[])), "lists no images"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    break_it, said: str, kind: str, data_set: Path, tmp_path: Path, capsys
):
    break_it(data_set)
    before = sorted(tmp_path.iterdir())
    assert convert_back(data_set, tmp_path / "out", kind) == 1
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_images_that_would_share_their_labels_are_named(tmp_path: Path, capsys):
    with TruthWriter(tmp_path / "data", "val", CATEGORIES) as writer:
        for name in ("a.png", "a.jpg"):
            write_image(tmp_path / "data" / "val" / name, HEIGHT, WIDTH)
            writer.write(name, *scene(1))
    for kind in TARGETS:
        assert convert_back(tmp_path / "data", tmp_path / kind, kind) == (kind != "coco-instances")
    assert "the labels of a.png and a.jpg would both be a.json. Rename an image." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "labelme", "--things", "car"], "--things is for reading other formats"),
        (["--to", "labelme", "--from", "voc"], "--from is for reading other formats"),
        (["--to", "labelme", "--link"], "--link: say where the images are"),
        (["--to", "labelm"], "invalid choice: 'labelm'"),
        (["--segments", "x"], "--segments belongs to --to"),
        (["--to", "coco-instances", "--name", "../../stray"], "--name ../../stray: use letters"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], said: str, data_set: Path, tmp_path: Path, capsys):
    path = data_set / "annotations" / "panoptic_val.json"
    assert main(["convert-dataset", str(path), "--output", str(tmp_path / "out"), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_is_not_taken_for_its_json(data_set: Path, tmp_path: Path, capsys):
    assert main(["convert-dataset", str(data_set), "--to", "labelme", "--output", str(tmp_path / "out")]) == 1
    assert f"{data_set}: is a folder. Give its JSON" in capsys.readouterr().err


@pytest.mark.parametrize("category_id", [0, 70000])
def test_ids_that_are_no_values_of_label_maps(category_id: int, tmp_path: Path):
    with TruthWriter(tmp_path, "val", Categories([replace(CATEGORIES[0], id=category_id)])) as writer:
        write_image(tmp_path / "val" / "a.png", 2, 2)
        writer.write("a.png", np.ones((2, 2), np.int32), {1: TrueSegment(category_id)})
    assert convert_back(tmp_path, tmp_path / "out", "label-maps") == 0
    assert (tmp_path / "out" / "names.txt").read_text() == "0 void\n1 car\n"
    assert np.asarray(Image.open(tmp_path / "out" / "labels" / "a.png")).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("name", ["car # 1", " car", "car\nbus", "", "4 5 doors", "Ignore"])
def test_names_that_label_maps_cannot_hold(name: str, tmp_path: Path, capsys):
    with TruthWriter(tmp_path, "val", Categories([replace(CATEGORIES[0], name=name)])):
        pass
    assert convert_back(tmp_path, tmp_path / "out", "label-maps") == 1
    assert f"the category {name!r} cannot be written as a line of names.txt. Rename it." in capsys.readouterr().err


def test_a_name_that_labelme_would_read_as_void(tmp_path: Path, capsys):
    with TruthWriter(tmp_path, "val", Categories([replace(CATEGORIES[0], name="ignore")])):
        pass
    assert convert_back(tmp_path, tmp_path / "out", "labelme") == 1
    assert "the category 'ignore' would be read as pixels without label. Rename it." in capsys.readouterr().err


def test_half_of_a_character_in_a_category_is_named(data_set: Path, tmp_path: Path, capsys):
    path = data_set / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "caf\udce9"
    path.write_text(json.dumps(content))
    assert convert_back(data_set, tmp_path / "out", "labelme") == 1
    assert r"the category 'caf\udce9' has half of a character" in capsys.readouterr().err
