from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.convert.label_studio import decode_brush, unpack_words
from panoptic_blend.errors import DatasetError
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

HEIGHT, WIDTH = 16, 20


def encode(values: list[int], literal_up_to: int, sizes: tuple[int, int, int, int] = (3, 4, 8, 16)) -> list[int]:
    """thi.ng's rle-pack, with runs up to a length written word by word."""
    bits = f"{len(values):032b}{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)

    def count(length: int) -> str:
        choice = next(n for n, size in enumerate(sizes) if length <= 2**size)
        return f"{choice:02b}{length - 1:0{sizes[choice]}b}"

    start = 0
    while start < len(values):
        end = start
        while end < len(values) and values[end] == values[start] and end - start < 2 ** sizes[-1]:
            end += 1
        if end - start > literal_up_to:
            bits += "1" + count(end - start) + f"{values[start]:08b}"
        else:
            end = min(start + 5, len(values))
            bits += "0" + count(end - start) + "".join(f"{value:08b}" for value in values[start:end])
        start = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def brush(mask: np.ndarray, literal_up_to: int = 3) -> list[int]:
    rgba = np.zeros((*mask.shape, 4), np.uint8)
    rgba[mask] = (255, 0, 80, 255)
    return encode(rgba.ravel().tolist(), literal_up_to)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 6))
def test_brush_strokes_are_decoded(seed: int, share: float, literal_up_to: int):
    mask = np.random.default_rng(seed).random((7, 9)) < share
    assert np.array_equal(decode_brush(brush(mask, literal_up_to), 7, 9, "x"), mask)


def test_what_label_studios_own_converter_packed():
    """Both as in the test of its encoder."""
    code = [0, 0, 0, 18, 57, 27, 252, 96, 32, 1, 0, 6, 0, 40, 0, 192, 3, 128, 17, 56, 32]
    assert unpack_words(code, 18, "x").tolist() == [1] * 4 + [2, 3, 5, 6, 7, 8] + [4] * 8


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (brush(np.ones((2, 2), bool))[:-1], "cut off"),
        (brush(np.ones((2, 2), bool))[:3], "cut off"),
        ([], "cut off"),
        (brush(np.ones((2, 3), bool)), "holds 24 words of 8 bits, but 16 of 8 were expected"),
        ([1, 2, 300], "list of bytes"),
        ([1, "2"], "list of bytes"),
        ([0, 0, 0, 16, 0b00111001, 0b10011011, 0b11111111, 0b11111111, 0xFF, 0xFF, 0xFF], "longer than the image"),
    ],
)
def test_damaged_strokes_are_refused(code: list, said: str):
    with pytest.raises(DatasetError, match=f"x: 'rle' .*{said}"):
        decode_brush(code, 2, 2, "x")


def row(kind: str, value: dict, **fields: object) -> dict:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"type": kind, "value": value, "from_name": "label", "to_name": "image"} | size | fields


def polygon(label: str, box: tuple[int, int, int, int], **fields: object) -> dict:
    points = [[x / WIDTH * 100, y / HEIGHT * 100] for x, y in corners(box)]
    return row("polygonlabels", {"points": points, "closed": True, "polygonlabels": [label]}, **fields)


def task(image: str, *results: list[dict], **fields: object) -> dict:
    annotations = [{"id": n, "was_cancelled": False, "result": result} for n, result in enumerate(results)]
    return {"id": 1, "data": {"image": image}, "annotations": annotations, "predictions": []} | fields


def write(root: Path, tasks: list[dict], *images: str) -> Path:
    for name in images:
        write_image(root / name, HEIGHT, WIDTH)
    root.mkdir(exist_ok=True)
    path = root / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def test_polygons_are_objects(tmp_path: Path, capsys):
    tasks, expected = [], {}
    for number in range(6):
        scene = random_rectangles(np.random.default_rng(number), HEIGHT, WIDTH, 4)
        results = [polygon(name, box, id=f"r{n}") for n, (name, box) in enumerate(scene)]
        tasks.append(task(f"/data/upload/3/{number}.png", results))
        expected[f"{number}.png"] = seen_of(scene, HEIGHT, WIDTH)
    path = write(tmp_path, tasks, *expected)
    assert convert_dataset(path, tmp_path / "out") == 0
    assert "looks like label-studio" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == expected


def test_brush_strokes_keep_every_pixel(tmp_path: Path):
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.3
    value = {"format": "rle", "rle": brush(mask), "brushlabels": ["cat"]}
    path = write(tmp_path, [task("a.png", [row("brushlabels", value)])], "a.png")
    assert convert_dataset(path, tmp_path / "out") == 0
    assert segments_of(tmp_path / "out") == {"a.png": {("cat", False, pixels(mask))}}


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/upload/3/0123abcd-my%20car.png", "my car.png"),
        ("/data/upload/3/0123abcd-car.png", "0123abcd-car.png"),
        ("/data/local-files/?d=photos/day%2Fcar.png", "day/car.png"),
        ("/data/local-files/?d=photos\\day\\car.png", "photos/day/car.png"),
        ("https://example.org/bucket/day/car.png?size=full", "day/car.png"),
        ("s3://bucket/car.png", "car.png"),
    ],
)
def test_images_are_found_by_their_address(address: str, file: str, tmp_path: Path):
    path = write(tmp_path / "export", [task(address, [polygon("car", (1, 1, 5, 5))])])
    write_image(tmp_path / "images" / file, HEIGHT, WIDTH)
    assert convert_dataset(path, tmp_path / "out", "--images", str(tmp_path / "images")) == 0
    assert set(segments_of(tmp_path / "out")) == {file}


def test_shape_and_label_may_be_two_rows(tmp_path: Path):
    outline = polygon("car", (1, 1, 5, 5), id="r")
    points = {"points": outline["value"]["points"]}
    rows = [row("polygon", points, id="r"), row("labels", points | {"labels": ["cat"]}, id="r")]
    path = write(tmp_path, [task("a.png", rows)], "a.png")
    assert convert_dataset(path, tmp_path / "out") == 0
    assert segments_of(tmp_path / "out") == {"a.png": seen_of([("cat", (1, 1, 5, 5))], HEIGHT, WIDTH)}


def test_what_cannot_be_used_is_listed(tmp_path: Path, capsys):
    good = [polygon("car", (1, 1, 5, 5), id="good")]
    box = {"x": 5, "y": 5, "width": 10, "height": 10, "rectanglelabels": ["car"]}
    two = {"points": [[1, 1], [50, 50]], "polygonlabels": ["car"]}
    bad = [
        row("rectanglelabels", box, id="box"),
        row("polygonlabels", two, id="two"),
        row("polygonlabels", {"points": two["points"]}, id="none"),
        row("choices", {"choices": ["sunny"]}, id="weather"),
        {"type": "relation", "from_id": "box", "to_id": "two"},
        polygon("car", (40, 40, 50, 50), id="out"),
    ]
    cancelled = [{"was_cancelled": True, "result": good}]
    tasks = [task("a.png", bad), task("b.png", good, bad), task("c.png", annotations=cancelled)]
    path = write(tmp_path, tasks, "a.png", "b.png", "c.png")
    assert convert_dataset(path, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "lost: a.png: result box ('car'): a box, a point or a line, which is no mask" in said
    assert "lost: a.png: result two ('car'): a polygon of 2 points, which has no area" in said
    assert "lost: a.png: result none: has no label" in said
    assert "lost: a.png: result out ('car'): has no pixels in the image" in said
    assert "lost: b.png: 1 more annotations of the same image" in said
    assert "lost: c.png: nobody annotated it: the image is void" in said
    assert "weather" not in said
    expected = {"a.png": set(), "b.png": seen_of([("car", (1, 1, 5, 5))], HEIGHT, WIDTH), "c.png": set()}
    assert segments_of(tmp_path / "out") == expected


GOOD = polygon("car", (1, 1, 5, 5))


def bad_polygon(**value: object) -> dict:
    return GOOD | {"value": GOOD["value"] | value}


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([task("b.png", [GOOD])], "task 1: the image b.png is not in"),
        ([task("../a.png", [GOOD])], "leaves its folder"),
        ([task("a.png", [GOOD], data={})], "task 1: data: 'image' must be a text, found None"),
        ([task("a.png", [bad_polygon(points=5)])], "task 1: result 1: points must be a list, found 5"),
        ([task("a.png", [bad_polygon(points=[[1, 1], [1]])])], "points[1] must be [x, y]"),
        ([task("a.png", [bad_polygon(polygonlabels="car")])], "'polygonlabels' must be a list, found 'car'"),
        ([task("a.png", [bad_polygon(polygonlabels=[5])])], "a label must be a text, found 5"),
        ([task("a.png", [GOOD | {"original_width": 7}])], "is 20 x 16, but its labels are made for 7 x 16"),
        ([task("a.png", [GOOD | {"original_width": None}])], "'original_width' must be a whole number, found None"),
        ([task("a.png", [GOOD, GOOD | {"original_width": 7}])], "made for images of several sizes"),
        ([task("a.png", [GOOD | {"image_rotation": 90}])], "the image was turned while it was labelled"),
        ([task("a.png", [row("brushlabels", {"rle": [1], "brushlabels": ["car"]})])], "result 1: 'rle' is cut off"),
        ([task("a.png", [5])], "task 1: result 1 must be an object, found 5"),
        ([task("a.png", annotations=5)], "'annotations' must be a list, found 5"),
        ([{"id": 1, "image": "a.png", "label": []}], "not as JSON-MIN"),
        ([5], "task 1 must be an object, found 5"),
        ([], "nothing in it is labelled"),
        ({"tasks": []}, "must be a list, found an object"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(tasks, said: str, tmp_path: Path, capsys):
    path = write(tmp_path, tasks, "a.png")
    before = sorted(tmp_path.iterdir())
    assert convert_dataset(path, tmp_path / "out", "--from", "label-studio") == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_cut_off_is_named(tmp_path: Path, capsys):
    path = write(tmp_path, [task("a.png", [GOOD])], "a.png")
    path.write_text(path.read_text()[:-20])
    assert convert_dataset(path, tmp_path / "out") == 1
    assert "export.json: not valid JSON" in " ".join(capsys.readouterr().err.split())


def drawn(kind: str, to: str = "image", **value: object) -> dict:
    row = {"id": kind, "type": kind, "from_name": "label", "to_name": to, "value": value}
    return row | {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}


def test_bitmasks_are_objects_and_vectors_are_said(tmp_path: Path, capsys):
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5
    picture = "data:image/png;base64," + base64.b64encode(png_bytes(mask)).decode()
    results = [
        drawn("bitmask", imageDataURL=picture, bitmasklabels=["dog"]),
        drawn("vector", vertices=[{"x": 1, "y": 1}, {"x": 9, "y": 9}], closed=False, vectorlabels=["road"]),
    ]
    path = write(tmp_path / "source", [task("a.png", results)], "a.png")
    assert convert_dataset(path, tmp_path / "out") == 0
    assert segments_of(tmp_path / "out") == {"a.png": {("dog", False, pixels(mask))}}
    assert "result vector ('road'): a box, a point or a line, which is no mask" in capsys.readouterr().out


def test_a_task_of_several_images_is_refused(tmp_path: Path, capsys):
    outline = [[0, 0], [50, 0], [50, 50]]
    results = [drawn(to, to, points=outline, polygonlabels=["dog"]) for to in ("image", "image2")]
    path = write(tmp_path / "source", [task("a.png", results)], "a.png")
    assert convert_dataset(path, tmp_path / "out") == 1
    assert "its shapes belong to several images (image, image2)" in capsys.readouterr().err


def test_a_turn_of_any_size_is_a_turn(tmp_path: Path):
    ellipse = drawn("e", x=50, y=50, radiusX=20, radiusY=20, rotation=10**30, ellipselabels=["dog"])
    path = write(tmp_path / "source", [task("a.png", [ellipse])], "a.png")
    assert convert_dataset(path, tmp_path / "out") == 0
