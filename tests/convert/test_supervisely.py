from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.convert.scenes import (
    convert_dataset,
    corners,
    pixels,
    png_bytes,
    random_rectangles,
    seen_of,
    segments_of,
    write_image,
)

HEIGHT, WIDTH = 14, 19
CLASSES = [
    {"title": "car", "shape": "any", "color": "#FF8000"},
    {"title": "cat", "shape": "bitmap", "color": "#00FF00"},
]


def write(root: Path, images: dict[str, list[dict]], classes: object = CLASSES, **fields: object) -> Path:
    """A project with the objects of each image; names are `FOLDER/FILE`."""
    root.mkdir(exist_ok=True)
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    for name, objects in images.items():
        folder, file = name.split("/")
        write_image(root / folder / "img" / file, HEIGHT, WIDTH)
        (root / folder / "ann").mkdir(exist_ok=True)
        row = {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects} | fields
        (root / folder / "ann" / f"{file}.json").write_text(json.dumps(row))
    return root


def polygon(title: str, exterior: list, interior: list = ()) -> dict:  # type: ignore[assignment]
    points = {"exterior": exterior, "interior": list(interior)}
    return {"classTitle": title, "geometryType": "polygon", "points": points}


def bitmap(title: str, data: str, origin: object = (0, 0)) -> dict:
    return {"classTitle": title, "geometryType": "bitmap", "bitmap": {"data": data, "origin": origin}}


def packed(mask: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(png_bytes(mask))).decode()


def inclusive(box: tuple[int, int, int, int]) -> list[list[float]]:
    """Corners that are pixels of the rectangle themselves, as Supervisely has them."""
    left, top, right, bottom = box
    return corners((left, top, right - 1, bottom - 1))


def test_polygons_have_the_pixels_of_their_points(tmp_path: Path, capsys):
    images, expected = {}, {}
    for number in range(6):
        scene = random_rectangles(np.random.default_rng(number), HEIGHT, WIDTH, 4)
        scene = [(name, (x, y, x2 + 1, y2 + 1)) for name, (x, y, x2, y2) in scene]  # two pixels or more a side
        images[f"train/{number}.png"] = [polygon(name, inclusive(box)) for name, box in scene]
        expected[f"{number}.png"] = seen_of(scene, HEIGHT, WIDTH)
    source = write(tmp_path / "source", images | {"valid/x.jpg": [polygon("car", inclusive((0, 0, 4, 4)))]})
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like supervisely" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == expected
    assert segments_of(tmp_path / "out", "val") == {"x.jpg": seen_of([("car", (0, 0, 4, 4))], HEIGHT, WIDTH)}
    (first, _) = json.loads((tmp_path / "out" / "annotations" / "panoptic_val.json").read_text())["categories"]
    assert (first["name"], first["isthing"], first["color"]) == ("car", 1, [255, 128, 0])


def test_holes_are_cut_out(tmp_path: Path):
    ring = polygon("car", inclusive((2, 2, 12, 12)), [inclusive((5, 5, 8, 8))])
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:12, 2:12] = True
    mask[5:8, 5:8] = False
    assert convert_dataset(write(tmp_path / "source", {"ds/a.png": [ring]}), tmp_path / "out") == 0
    assert segments_of(tmp_path / "out") == {"a.png": {("car", False, pixels(mask))}}


@pytest.mark.parametrize("seed", range(3))
def test_bitmaps_keep_every_pixel_inside_the_image(seed: int, tmp_path: Path):
    generator = np.random.default_rng(seed)
    mask, corner = generator.random((6, 9)) < 0.5, generator.integers(-5, 15, 2)
    whole = np.zeros((HEIGHT + 40, WIDTH + 40), bool)
    left, top = corner.tolist()
    whole[20 + top : 26 + top, 20 + left : 29 + left] = mask
    objects = [bitmap("cat", packed(mask), [left, top]), polygon("car", inclusive((17, 0, 19, 1)))]
    assert convert_dataset(write(tmp_path / "source", {"ds/a.png": objects}), tmp_path / "out") == 0
    cat = whole[20 : 20 + HEIGHT, 20 : 20 + WIDTH]
    found = {name: each for name, _, each in segments_of(tmp_path / "out")["a.png"]}
    assert ("cat" in found) == bool(cat.any())
    if cat.any():
        both = np.zeros((HEIGHT, WIDTH), bool)
        both[0, 17:19] = True
        assert found["cat"] == pixels(cat & ~both if both.sum() < cat.sum() else cat)


def test_polygons_that_reach_far_out_are_cut(tmp_path: Path):
    far = polygon("car", [[9, -(10**12)], [10**12, -(10**12)], [10**12, 10**12], [9, 10**12]])
    assert convert_dataset(write(tmp_path / "source", {"ds/a.png": [far]}), tmp_path / "out") == 0
    right = np.broadcast_to(np.arange(WIDTH) >= 9, (HEIGHT, WIDTH))
    assert segments_of(tmp_path / "out") == {"a.png": {("car", False, pixels(right))}}


def test_what_has_no_area_is_lost_and_said(tmp_path: Path, capsys):
    objects = [
        polygon("car", [[1, 1], [5, 5]]),
        polygon("car", inclusive((40, 1, 45, 5))),
        {"classTitle": "car", "geometryType": "rectangle", "points": {"exterior": [[1, 1], [5, 5]]}},
        polygon("cat", inclusive((1, 1, 5, 5))),
    ]
    source = write(tmp_path / "source", {"a/x.png": objects, "b/x.png": []})
    assert convert_dataset(source, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "lost: a/x.png: object 1 ('car'): a polygon of 2 points, which has no area" in said
    assert "lost: a/x.png: object 2 ('car'): has no pixels in the image" in said
    assert "lost: a/x.png: object 3 ('car'): a rectangle, which is no mask" in said
    expected = {"a/x.png": seen_of([("cat", (1, 1, 5, 5))], HEIGHT, WIDTH), "b/x.png": set()}
    assert segments_of(tmp_path / "out") == expected


SQUARE = polygon("car", inclusive((1, 1, 5, 5)))
MASK = packed(np.ones((4, 4), bool))
BOMB = base64.b64encode(zlib.compress(bytes(2**27))).decode()


@pytest.mark.parametrize(
    ("objects", "fields", "said"),
    [
        ([polygon("dog", [[1, 1]])], {}, "a.png.json: objects[0]: the class 'dog' is not in meta.json"),
        ([polygon("car", [[1, 1], [2]])], {}, "objects[0]: exterior[1] must be [x, y]"),
        ([polygon("car", [[1, 1], [2, 3], [5, None]])], {}, "exterior[2] must be a number, found None"),
        ([polygon("car", SQUARE["points"]["exterior"], [5])], {}, "objects[0]: interior must be a list, found 5"),
        ([bitmap("car", MASK[:-8])], {}, "objects[0]: the bitmap"),
        ([bitmap("car", "%%%%")], {}, "objects[0]: not valid base64"),
        ([bitmap("car", "aaaa")], {}, "objects[0]: the bitmap cannot be unpacked"),
        ([bitmap("car", BOMB)], {}, "objects[0]: the bitmap is cut off, or far larger than any mask"),
        ([bitmap("car", base64.b64encode(zlib.compress(b"no")).decode())], {}, "cannot be read as a PNG"),
        ([bitmap("car", MASK, 5)], {}, "origin[0] must be a list, found 5"),
        ([SQUARE], {"size": {"height": 5, "width": 5}}, "is 19 x 14, but its labels are made for 5 x 5"),
        ([SQUARE], {"size": {"height": 0, "width": 5}}, "size: width and height must be positive"),
        ([SQUARE], {"size": None}, "'size' must be an object, found None"),
        ([SQUARE], {"objects": 5}, "'objects' must be a list, found 5"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(objects, fields: dict, said: str, tmp_path: Path, capsys):
    source = write(tmp_path / "source", {"ds/a.png": objects}, **fields)
    before = sorted(tmp_path.iterdir())
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("meta.json", "{", "meta.json: not valid JSON"),
        ("meta.json", "{}", "'classes' must be a list, found None"),
        ("ds/ann/a.png.json", "[]", "a.png.json must be an object, found a list"),
        ("ds/ann/b.png.json", "{}", "its image"),
    ],
)
def test_damaged_projects_are_named(name: str, text: str, said: str, tmp_path: Path, capsys):
    source = write(tmp_path / "source", {"ds/a.png": [SQUARE]})
    (source / name).write_text(text)
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_nested_data_sets_are_read(tmp_path: Path):
    objects = [polygon("car", corners((2, 2, 9, 9)))]
    source = write(tmp_path / "source", {"one/a.png": objects, "train/b.png": objects})
    write(source / "one" / "datasets", {"two/a.png": objects})
    write(source / "one" / "datasets" / "two" / "datasets", {"three/a.png": objects})
    for unused in source.glob("one/**/meta.json"):
        unused.unlink()
    assert convert_dataset(source, tmp_path / "out", "--name", "rest") == 0
    found = segments_of(tmp_path / "out", "rest")
    names = {"one/a.png", "one/datasets/two/a.png", "one/datasets/two/datasets/three/a.png"}
    assert set(found) == names
    assert segments_of(tmp_path / "out", "train") == {"b.png": found["one/a.png"]}
    assert all(len(segments) == 1 for segments in found.values())
