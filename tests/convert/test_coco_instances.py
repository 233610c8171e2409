from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.convert.coco_instances import open_source, recognise
from panoptic_blend.convert.formats import recognise_format
from panoptic_blend.convert.options import FormatOptions
from tests.convert.scenes import convert_dataset, pixels, random_blobs, segments_of

HEIGHT, WIDTH = 12, 15
CATEGORIES = [{"id": 3, "name": "car"}, {"id": 7, "name": "cat"}]


def compressed(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict:
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(np.r_[0, flat])).tolist()
    return {"size": list(mask.shape), "counts": np.diff([0, *changes, flat.size]).tolist()}


def rectangle(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


@pytest.fixture
def data_set(tmp_path: Path) -> tuple[Path, dict[str, set]]:
    """Four images with masks in both run-length forms, and what must become of them."""
    (tmp_path / "images" / "a").mkdir(parents=True)
    images, annotations, expected = [], [], {}
    for number in range(4):
        name = f"a/{number}.png"
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / name)
        images.append({"id": number + 10, "file_name": name, "width": WIDTH, "height": HEIGHT})
        blobs = random_blobs(np.random.default_rng(number), HEIGHT, WIDTH, 4)
        expected[name] = set()
        for n in [n for n in np.unique(blobs) if n]:
            category, crowd = CATEGORIES[n % 2], bool(n == 3)
            form = uncompressed if crowd else compressed
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 10,
                    "category_id": category["id"],
                    "segmentation": form(blobs == n),
                    "iscrowd": int(crowd),
                }
            )
            expected[name].add((category["name"], crowd, pixels(blobs == n)))
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return path, expected


def free_of(objects: set, inside: np.ndarray | bool = True) -> bytes:
    """The pixels that no object has."""
    bits = [np.unpackbits(np.frombuffer(each, np.uint8))[: HEIGHT * WIDTH] for *_, each in objects]
    return pixels((np.sum(bits, axis=0).reshape(HEIGHT, WIDTH) == 0) & inside)


def change(path: Path, edit: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_masks_keep_every_pixel(data_set, tmp_path: Path, capsys):
    path, expected = data_set
    assert convert_dataset(path, tmp_path / "out", "--images", str(tmp_path / "images")) == 0
    assert "looks like coco-instances" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == expected
    categories = PanopticAnnotations.load(tmp_path / "out" / "annotations" / "panoptic_train.json").categories
    assert [(each.id, each.name, each.is_thing) for each in categories] == [(3, "car", True), (7, "cat", True)]


def test_polygons_of_several_parts_are_one_object(data_set, tmp_path: Path):
    path, _ = data_set
    parts = [rectangle(1, 1, 4, 5), rectangle(7, 2, 12, 9)]
    row = {"image_id": 11, "category_id": 3, "segmentation": parts}
    change(path, lambda c: c.update(annotations=[row]))
    assert convert_dataset(path, tmp_path / "out") == 0
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[1:5, 1:4] = mask[2:9, 7:12] = True
    assert segments_of(tmp_path / "out")["a/1.png"] == {("car", False, pixels(mask))}


def test_stuff_out_of_another_json(data_set, tmp_path: Path):
    path, expected = data_set
    sky = np.arange(HEIGHT)[:, None] < np.full(WIDTH, 5)
    rows = [
        {"image_id": 1, "category_id": 92, "segmentation": compressed(sky), "iscrowd": 0},
        {"image_id": 1, "category_id": 3, "segmentation": compressed(~sky), "iscrowd": 0},
    ]
    stuff = {
        "images": [{"id": 1, "file_name": "a/2.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": rows,
        "categories": [{"id": 92, "name": "sky"}, {"id": 3, "name": "car"}],
    }
    (tmp_path / "stuff.json").write_text(json.dumps(stuff))
    assert convert_dataset(path, tmp_path / "out", "--stuff-labels", str(tmp_path / "stuff.json")) == 0
    seen = free_of(expected["a/2.png"], sky)
    assert segments_of(tmp_path / "out") == expected | {"a/2.png": expected["a/2.png"] | {("sky", False, seen)}}


def test_stuff_out_of_label_maps(data_set, tmp_path: Path):
    path, expected = data_set
    (tmp_path / "maps" / "a").mkdir(parents=True)
    for number in range(4):
        Image.new("L", (WIDTH, HEIGHT), 92).save(tmp_path / "maps" / "a" / f"{number}.png")
    (tmp_path / "names.txt").write_text("0 void\n3 car\n92 sky\n")
    options = ["--stuff-labels", str(tmp_path / "maps"), "--labels", str(tmp_path / "names.txt")]
    assert convert_dataset(path, tmp_path / "out", *options) == 0
    for name, found in segments_of(tmp_path / "out").items():
        assert found == expected[name] | {("sky", False, free_of(expected[name]))}
    categories = PanopticAnnotations.load(tmp_path / "out" / "annotations" / "panoptic_train.json").categories
    assert [(each.id, each.name) for each in categories] == [(3, "car"), (7, "cat"), (92, "sky")]


def test_the_labels_of_one_data_set_as_datumaro_reads_them(shared: Path, tmp_path: Path):
    """Contents as in datumaro's tests of its fixture; its two JSONs, and the stuff ones, lie beside `images/SPLIT/`."""
    folder = shared / "fixtures" / "datumaro" / "coco_dataset"
    instances, stuff = folder / "coco_instances" / "annotations", folder / "coco_stuff" / "annotations"
    assert convert_dataset(instances / "instances_val.json", tmp_path / "val") == 0
    left = np.zeros((10, 5), bool)
    left[:, :2] = True
    corner = np.zeros((10, 5), bool)
    corner[:2, :1] = True
    assert segments_of(tmp_path / "val") == {
        "b.jpg": {("a", False, pixels(corner)), ("b", True, pixels(left & ~corner))}
    }
    assert convert_dataset(stuff / "stuff_train.json", tmp_path / "stuff", "--stuff", "a,b") == 0
    # Runs 10, 10, 5, 10, 15 down the columns of 5 pixels: the third and fourth, the sixth and seventh.
    columns = np.isin(np.arange(10), [2, 3, 5, 6])
    assert segments_of(tmp_path / "stuff") == {"a.jpg": {("a", False, pixels(np.broadcast_to(columns, (5, 10))))}}
    both = (
        instances / "instances_val.json",
        tmp_path / "both",
        "--stuff",
        "b",
        "--stuff-labels",
        str(stuff / "stuff_val.json"),
    )
    assert convert_dataset(*both) == 0
    assert segments_of(tmp_path / "both") == {
        "b.jpg": {("a", False, pixels(corner)), ("b", False, pixels(left & ~corner))}
    }


def test_boxes_alone_are_no_masks(shared: Path, tmp_path: Path, capsys):
    path = shared / "fixtures" / "datumaro" / "coco_dataset" / "coco_instances" / "annotations" / "instances_train.json"
    assert convert_dataset(path, tmp_path / "out") == 1
    assert "a.jpg: annotation 1 ('b'): has no mask, at most a box" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_what_has_no_area_is_listed(data_set, tmp_path: Path, capsys):
    path, expected = data_set
    rows = [
        {"id": 97, "image_id": 10, "category_id": 3, "segmentation": [[1, 1, 5, 5]]},
        {"id": 98, "image_id": 10, "category_id": 3, "segmentation": [rectangle(90, 1, 99, 5)]},
        {"id": 99, "image_id": 10, "category_id": 3, "segmentation": []},
    ]
    change(path, lambda c: c["annotations"].extend(rows))
    assert convert_dataset(path, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "lost: a/0.png: annotation 97 ('car'): a polygon of 2 points, which has no area" in said
    assert "lost: a/0.png: annotation 98 ('car'): has no pixels in the image" in said
    assert "lost: a/0.png: annotation 99 ('car'): has no mask, at most a box" in said
    assert segments_of(tmp_path / "out") == expected


def first(content: dict) -> dict:
    return content["annotations"][0]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda c: first(c).update(category_id=5), "annotations[0]: category_id 5 is not in 'categories'"),
        (lambda c: first(c).update(image_id=5), "annotations[0]: image 5 is not in 'images'"),
        (lambda c: first(c).update(image_id=[5]), "annotations[0]: image [5] is not in 'images'"),
        (lambda c: first(c).update(segmentation=7), "annotations[0]: 'segmentation' must be a list, found 7"),
        (lambda c: first(c).update(segmentation=[1, 2, 3, 4, 5, 6]), "segmentation[0] must be a list, found 1"),
        (lambda c: first(c).update(segmentation=[[1, 2, "3", 4, 5, 6]]), "segmentation[0] must be a number, found '3'"),
        (lambda c: first(c).update(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "segmentation[0] has 7 numbers"),
        (lambda c: first(c).update(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "must be a finite number, found nan"),
        (lambda c: first(c).update(segmentation={"size": [9, 9], "counts": [81]}), "size [9, 9] is not that of the"),
        (lambda c: first(c)["segmentation"].update(counts=[1, 2]), "annotations[0]: its runs make 3 pixels"),
        (lambda c: first(c)["segmentation"].update(counts="P"), "annotations[0]: the compressed run lengths are"),
        (lambda c: first(c)["segmentation"].pop("counts"), "annotations[0]: 'counts' must be a list, found None"),
        (lambda c: c["annotations"].insert(0, 3), "annotations[0] must be an object, found 3"),
        (lambda c: c.update(annotations={}), "'annotations' must be a list"),
        (lambda c: c.update(categories=[]), "no categories"),
        (lambda c: c.update(images=[]), "lists no images"),
        (lambda c: c["images"][0].update(file_name="../../etc/passwd"), "leaves its folder"),
        (lambda c: c["images"][0].update(file_name="b/0.png"), "the image b/0.png is not in"),
        (lambda c: c["images"][1].update(file_name="b/1.png"), "b/1.png: no such image"),
        (lambda c: c["images"][0].update(width=9), "the mask's size [12, 15] is not that of the image, 12 x 9"),
        (lambda c: c["images"][3].update(file_name="a/0.png"), "a/0.png: the data set lists this image twice"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(edit, said: str, data_set, tmp_path: Path, capsys):
    path, _ = data_set
    change(path, edit)
    before = sorted(tmp_path.iterdir())
    assert convert_dataset(path, tmp_path / "out", "--from", "coco-instances") == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_cut_off_is_named(data_set, tmp_path: Path, capsys):
    path, _ = data_set
    path.write_text(path.read_text()[:-200])
    assert convert_dataset(path, tmp_path / "out") == 1
    assert "mine.json: not valid JSON" in " ".join(capsys.readouterr().err.split())


def test_panoptic_and_other_files_are_not_taken_for_it(data_set, shapes: Path, tmp_path: Path):
    path, _ = data_set
    assert recognise_format(path) == "coco-instances"
    assert not recognise(shapes / "annotations" / "panoptic_train.json")
    for text in ("", "[]", "{}", '{"shapes": [], "segmentation": []}'):
        (tmp_path / "other.json").write_text(text)
        assert not recognise(tmp_path / "other.json")


@pytest.mark.slow
def test_many_annotations_take_little_more_memory_than_their_file(tmp_path: Path):
    generator = np.random.default_rng(0)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "0.png")
    images = [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in range(500)]
    rows = [
        {
            "id": n,
            "image_id": n % 500,
            "category_id": 3,
            "segmentation": [generator.uniform(0, 9, 60).round(2).tolist()],
        }
        for n in range(8_000)
    ]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": CATEGORIES}))
    del rows
    tracemalloc.start()
    source = open_source(path, FormatOptions())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(len(json.loads(each)) for each in source.rows) == 8_000
    # Decoded at once, it is more than seven times.
    assert peak < 3 * path.stat().st_size


def test_names_written_on_windows(data_set: tuple[Path, dict[str, set]]):
    path, expected = data_set
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["file_name"] = image["file_name"].replace("/", "\\")
    path.write_text(json.dumps(content))
    assert convert_dataset(path, path.parent / "out") == 0
    assert segments_of(path.parent / "out") == expected
