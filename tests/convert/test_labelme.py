from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from tests.convert.scenes import convert_dataset, corners, pixels, png_bytes, random_rectangles, seen_of, segments_of

HEIGHT, WIDTH = 14, 19


def shape(label: str, points: list, kind: str = "polygon", **fields: object) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | fields


def write(path: Path, shapes: list[dict], **fields: object) -> None:
    """An image of the path's name and its JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    row = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": path.name, "imageData": None}
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.with_suffix(".json").write_text(json.dumps(row | size | fields))


def test_polygons_and_rectangles_are_objects(tmp_path: Path, capsys):
    expected = {}
    for number in range(8):
        scene = random_rectangles(np.random.default_rng(number), HEIGHT, WIDTH, 4)
        shapes = [
            shape(name, corners(box)) if n % 2 else shape(name, [corners(box)[2], corners(box)[0]], "rectangle")
            for n, (name, box) in enumerate(scene)
        ]
        write(tmp_path / "source" / f"day{number % 2}" / f"{number}.png", shapes)
        expected[f"day{number % 2}/{number}.png"] = seen_of(scene, HEIGHT, WIDTH)
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    assert "looks like labelme" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == expected


@pytest.mark.parametrize("seed", range(3))
def test_masks_keep_every_pixel(seed: int, tmp_path: Path):
    mask = np.random.default_rng(seed).random((5, 7)) < 0.5
    text = base64.b64encode(png_bytes(mask)).decode()
    write(tmp_path / "source" / "a.png", [shape("car", [[3, 2], [9, 6]], "mask", mask=text)])
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    whole = np.zeros((HEIGHT, WIDTH), bool)
    whole[2:7, 3:10] = mask
    assert segments_of(tmp_path / "out") == {"a.png": {("car", False, pixels(whole))}}


def test_circles_are_round(tmp_path: Path):
    write(tmp_path / "source" / "a.png", [shape("car", [[9, 7], [9, 12]], "circle")])
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    expected = np.hypot(x - 9, y - 7) < 5
    ((_, _, found),) = segments_of(tmp_path / "out")["a.png"]
    found = np.unpackbits(np.frombuffer(found, np.uint8))[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH) > 0
    assert (found & expected).sum() / (found | expected).sum() >= 0.97


def test_shapes_of_a_group_are_one_object(tmp_path: Path):
    first, second, third = (0, 0, 4, 4), (8, 8, 12, 12), (14, 0, 16, 4)
    shapes = [shape("car", corners(first), group_id=1), shape("car", corners(second), group_id=1)]
    write(tmp_path / "source" / "a.png", [*shapes, shape("car", corners(third), group_id=2)])
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    assert len(segments_of(tmp_path / "out")["a.png"]) == 2


def test_images_in_another_folder_are_found_by_their_last_name(tmp_path: Path):
    write(tmp_path / "source" / "a.png", [shape("car", corners((0, 0, 4, 4)))], imagePath="..\\photos\\a.png")
    (tmp_path / "photos").mkdir()
    shutil.move(tmp_path / "source" / "a.png", tmp_path / "photos" / "a.png")
    assert convert_dataset(tmp_path / "source", tmp_path / "refused") == 1
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--images", str(tmp_path / "photos")) == 0
    assert (tmp_path / "out" / "train" / "a.png").is_file()


def test_what_has_no_area_is_lost_and_said(tmp_path: Path, capsys):
    shapes = [
        shape("car", [[1, 1], [5, 5]]),
        shape("car", [[1, 1], [5, 5]], "line"),
        shape("car", corners((40, 1, 50, 5))),
        shape("__ignore__", corners((8, 1, 10, 3))),
        shape("cat", corners((1, 1, 5, 5))),
    ]
    write(tmp_path / "source" / "a.png", shapes)
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "lost: a.png: shape 1 ('car'): a polygon of 2 points, which has no area" in said
    assert "lost: a.png: shape 2 ('car'): a line, which has no area" in said
    assert "lost: a.png: shape 3 ('car'): has no pixels in the image" in said
    assert "__ignore__" not in said
    assert segments_of(tmp_path / "out") == {"a.png": seen_of([("cat", (1, 1, 5, 5))], HEIGHT, WIDTH)}


SQUARE = corners((1, 1, 5, 5))


@pytest.mark.parametrize(
    ("shapes", "fields", "said"),
    [
        ([shape("car", SQUARE, "star")], {}, "a.json: shapes[0]: the shape_type 'star' is unknown"),
        ([shape("car", [[1, 1], [5]])], {}, "shapes[0]: points[1] must be [x, y], found [5]"),
        ([shape("car", [[1, 1], [5, "5"], [1, 5]])], {}, "shapes[0]: points[1] must be a number, found '5'"),
        ([shape("car", [[1, 1], [5, float("inf")], [1, 5]])], {}, "points[1] must be a finite number"),
        ([shape("car", SQUARE, "rectangle")], {}, "shapes[0]: a rectangle has 2 points, found 4"),
        ([shape("car", [[1, 1], [2, 2]], "mask")], {}, "shapes[0]: 'mask' must be a text, found None"),
        ([shape("car", [[1, 1], [2, 2]], "mask", mask="%")], {}, "shapes[0]: not valid base64"),
        ([shape("car", [[1, 1], [2, 2]], "mask", mask="aaaa")], {}, "shapes[0]: the mask cannot be read as a PNG"),
        ([{"points": SQUARE}], {}, "a.json: a shape: 'label' must be a text"),
        ([3], {}, "a.json: a shape must be an object, found 3"),
        ([], {"imagePath": "../a.png"}, "leaves its folder"),
        ([], {"imagePath": "b.png"}, "b.png: no such image"),
        ([], {"imageWidth": 7}, "is 19 x 14, but its labels are made for 7 x 14"),
        ([], {"imageWidth": 2**40, "imageHeight": 2**40}, "is more than an image may have"),
        ([], {"imagePath": 5}, "'imagePath' must be a text, found 5"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(shapes, fields: dict, said: str, tmp_path: Path, capsys):
    write(tmp_path / "source" / "a.png", shapes, **fields)
    write(tmp_path / "source" / "b" / "good.png", [shape("car", SQUARE)])
    before = sorted(tmp_path.iterdir())
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_cut_off_is_named(tmp_path: Path, capsys):
    write(tmp_path / "source" / "a.png", [shape("car", SQUARE)])
    path = tmp_path / "source" / "a.json"
    path.write_text(path.read_text()[:40])
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--from", "labelme") == 1
    assert "a.json: not valid JSON" in " ".join(capsys.readouterr().err.split())


def test_the_old_xml_as_datumaro_reads_it(shared: Path, tmp_path: Path):
    """Points and masks as in datumaro's test of its fixture."""
    source, size = shared / "fixtures" / "datumaro" / "labelme_dataset", (77, 102)

    def filled(*points: float) -> np.ndarray:
        return coco_mask.decode(coco_mask.frPyObjects([list(map(float, points))], *size))[..., 0] > 0

    plate = np.zeros(size, bool)
    plate[67:69, 58:63] = True
    m1 = np.zeros(size, bool)
    for row, columns in enumerate(
        ["0" * 17]
        + ["0" + "1" * 15 + "0"] * 2
        + ["0" + "1" * 14 + "00"] * 2
        + ["01111111000111100", "01111111100111000"]
        + ["0" + "1" * 13 + "000"] * 2
        + ["0" + "1" * 13 + "000", "0" + "1" * 12 + "0000", "0" * 17]
    ):
        m1[13 + row, 54:71] = [each == "1" for each in columns]
    masks = {
        "window": filled(43, 34, 45, 34, 45, 37, 43, 37),
        "license plate": plate,
        "o1": filled(30, 12, 42, 21, 24, 26, 15, 22, 18, 14, 22, 12, 27, 12),
        "q1": filled(35, 21, 43, 22, 40, 28, 28, 31, 31, 22, 32, 25),
        "b1": filled(13, 19, 23, 19, 23, 30, 13, 30),
        "m1": m1,
        "hg": filled(64, 21, 74, 24, 72, 32, 62, 34, 60, 27, 62, 22),
    }
    owner = np.full(size, "", object)
    for name in sorted(masks, key=lambda each: -masks[each].sum()):
        owner[masks[name]] = name
    assert convert_dataset(source, tmp_path / "out") == 0
    found = segments_of(tmp_path / "out")
    assert found == {"subset1/img1.png": {(name, False, pixels(owner == name)) for name in masks}}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text[:300], "a.xml: not valid XML"),
        (lambda text: '<!DOCTYPE a [<!ENTITY b "ha">]>' + text, "a.xml: declares a document type"),
        (lambda text: text.replace("<x>1</x>", "<x>one</x>", 1), "object 1 ('car'): x of a point must be a number"),
        (lambda text: text.replace("a.png", "../../a.png"), "leaves its folder"),
        (lambda text: text.replace("m.png", "../m.png"), "leaves its folder"),
        (lambda text: text.replace("m.png", "n.png"), "n.png: no such label map"),
        (lambda text: text.replace("segm>", "nothing>"), "object 3 ('cat'): has neither a polygon nor a mask"),
    ],
)
def test_bad_xml_is_named(edit: Callable[[str], str], said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    for name in ("Annotations", "Images", "Masks"):
        (source / name / "f").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(source / "Images" / "f" / "a.png")
    Image.new("L", (WIDTH, HEIGHT), 255).save(source / "Masks" / "f" / "m.png")
    points = "".join(f"<pt><x>{x:.0f}</x><y>{y:.0f}</y></pt>" for x, y in SQUARE)
    car = f"<object><name>car</name><deleted>0</deleted><polygon>{points}</polygon></object>"
    gone = car.replace("<deleted>0", "<deleted>1").replace("car", "ghost")
    cat = "<object><name>cat</name><segm><mask>m.png</mask></segm></object>"
    text = f"<annotation><filename>a.png</filename><folder>f</folder>{car}{gone}{cat}{cat}</annotation>"
    path = source / "Annotations" / "f" / "a.xml"
    path.write_text(text)
    assert convert_dataset(source, tmp_path / "out") == 0
    assert {name for name, *_ in segments_of(tmp_path / "out")["f/a.png"]} == {"car", "cat"}
    path.write_text(edit(text))
    assert convert_dataset(source, tmp_path / "bad", "--from", "labelme") == 1
    assert said.replace("object 3", "object 2") in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "bad").exists()


def test_ignored_regions_are_void(tmp_path: Path):
    shapes = [shape("road", [[0, 0], [WIDTH, HEIGHT]], "rectangle"), shape("__ignore__", [[2, 3], [7, 6]], "rectangle")]
    write(tmp_path / "source" / "a.png", shapes)
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--stuff", "road") == 0
    road = np.ones((HEIGHT, WIDTH), bool)
    road[3:6, 2:7] = False
    assert segments_of(tmp_path / "out") == {"a.png": {("road", False, pixels(road))}}


def test_what_systems_and_editors_hide_is_passed_over(tmp_path: Path):
    shapes = [shape("car", [[0, 0], [4, 4]], "rectangle")]
    write(tmp_path / "source" / "a.png", shapes)
    for name in ("._a.json", "__MACOSX/._a.json", ".ipynb_checkpoints/a-checkpoint.json"):
        (tmp_path / "source" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "source" / name).write_bytes(b"\x00\x05\x16\x07 \xff")
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    assert set(segments_of(tmp_path / "out")) == {"a.png"}


def test_half_a_character_is_named(tmp_path: Path, capsys):
    write(tmp_path / "source" / "a.png", [shape("\ud83d", [[0, 0], [4, 4]], "rectangle")])
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 1
    assert r"'label' has half of a character: '\ud83d'" in capsys.readouterr().err
