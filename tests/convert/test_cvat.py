from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.convert.scenes import (
    convert_dataset,
    corners,
    pixels,
    random_rectangles,
    seen_of,
    segments_of,
    write_image,
)

HEIGHT, WIDTH = 14, 19


def shape(tag: str, label: str = "car", **attributes: object) -> str:
    return f"<{tag} label={quoteattr(label)} {' '.join(f'{k}={quoteattr(str(v))}' for k, v in attributes.items())}/>"


def polygon(label: str, box: tuple[int, int, int, int], **attributes: object) -> str:
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in corners(box))
    return shape("polygon", label, points=points, source="manual", occluded=0, **attributes)


def mask(label: str, values: np.ndarray, left: int, top: int) -> str:
    flat = np.r_[0, values.ravel().astype(int), 2]
    places = np.flatnonzero(np.diff(flat))
    runs = np.diff(np.r_[0, places])
    height, width = values.shape
    return shape(
        "mask", label, rle=", ".join(map(str, runs)), left=left, top=top, width=width, height=height, z_order=0
    )


def write(root: Path, images: dict[str, list[str]], **attributes: object) -> Path:
    """An export with the shapes of each image."""
    labels = "".join(
        f"<label><name>{name}</name><color>{color}</color><type>any</type></label>"
        for name, color in (("car", "#ff8000"), ("cat", "#00ff00"))
    )
    rows = ""
    for number, (name, shapes) in enumerate(images.items()):
        write_image(root / "images" / name, HEIGHT, WIDTH)
        sides = {"width": WIDTH, "height": HEIGHT} | attributes
        given = " ".join(f"{k}={quoteattr(str(v))}" for k, v in sides.items())
        rows += f"<image id='{number}' name={quoteattr(name)} {given}>{''.join(shapes)}</image>"
    text = f"<annotations><version>1.1</version><meta><job><labels>{labels}</labels></job></meta>{rows}</annotations>"
    (root / "annotations.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}')
    return root


def test_polygons_are_objects(tmp_path: Path, capsys):
    images, expected = {}, {}
    for number in range(6):
        scene = random_rectangles(np.random.default_rng(number), HEIGHT, WIDTH, 4)
        images[f"day & night/{number}.png"] = [polygon(*each) for each in scene]
        expected[f"day & night/{number}.png"] = seen_of(scene, HEIGHT, WIDTH)
    assert convert_dataset(write(tmp_path / "source", images), tmp_path / "out") == 0
    assert "looks like cvat" in capsys.readouterr().out
    assert segments_of(tmp_path / "out") == expected


@pytest.mark.parametrize("seed", range(4))
def test_masks_keep_every_pixel(seed: int, tmp_path: Path):
    values = np.random.default_rng(seed).random((5, 8)) < (0.5, 0.9, 0.1, 0.5)[seed]
    source = write(tmp_path / "source", {"a.png": [mask("cat", values, 7, 3)]})
    assert convert_dataset(source, tmp_path / "out") == 0
    whole = np.zeros((HEIGHT, WIDTH), bool)
    whole[3:8, 7:15] = values
    assert segments_of(tmp_path / "out") == {"a.png": {("cat", False, pixels(whole))}}


def test_groups_are_one_object_and_the_upper_layer_is_in_front(tmp_path: Path):
    big, small = (0, 0, 10, 10), (2, 2, 5, 5)
    shapes = [polygon("car", big, z_order=3), polygon("cat", small, z_order=1)]
    shapes += [polygon("car", (14, 0, 16, 2), group_id=4), polygon("car", (14, 5, 16, 8), group_id=4)]
    source = write(tmp_path / "source", {"a.png": shapes})
    assert convert_dataset(source, tmp_path / "out", "--overlap", "order") == 0
    parts = np.zeros((HEIGHT, WIDTH), bool)
    parts[0:2, 14:16] = parts[5:8, 14:16] = True
    expected = seen_of([("car", big)], HEIGHT, WIDTH) | {("car", False, pixels(parts))}
    assert segments_of(tmp_path / "out") == {"a.png": expected}


def test_ellipses_are_round(tmp_path: Path):
    source = write(tmp_path / "source", {"a.png": [shape("ellipse", cx=9, cy=7, rx=8, ry=4, rotation=30)]})
    assert convert_dataset(source, tmp_path / "out") == 0
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    turn = np.deg2rad(30)  # clockwise on the screen, where y points down
    along, across = (x - 9) * np.cos(turn) + (y - 7) * np.sin(turn), (y - 7) * np.cos(turn) - (x - 9) * np.sin(turn)
    expected = (along / 8) ** 2 + (across / 4) ** 2 < 1
    ((_, _, found),) = segments_of(tmp_path / "out")["a.png"]
    found = np.unpackbits(np.frombuffer(found, np.uint8))[: HEIGHT * WIDTH].reshape(HEIGHT, WIDTH) > 0
    assert (found & expected).sum() / (found | expected).sum() >= 0.95


def test_what_has_no_area_is_lost_and_said(tmp_path: Path, capsys):
    shapes = [
        shape("polyline", points="1,1;5,5"),
        shape("polygon", points="1,1;5,5"),
        polygon("car", (40, 1, 45, 5)),
        "<tag label='cat' source='manual'/>",
        polygon("cat", (1, 1, 5, 5)),
    ]
    assert convert_dataset(write(tmp_path / "source", {"a.png": shapes}), tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "lost: a.png: a polyline of 'car': has no area" in said
    assert "lost: a.png: a polygon of 'car': a polygon of 2 points, which has no area" in said
    assert "lost: a.png: a polygon of 'car': has no pixels in the image" in said
    assert segments_of(tmp_path / "out") == {"a.png": seen_of([("cat", (1, 1, 5, 5))], HEIGHT, WIDTH)}


def test_boxes_of_a_dropped_label_are_passed_over(tmp_path: Path, capsys):
    shapes = [shape("box", xtl=1, ytl=1, xbr=5, ybr=5), polygon("cat", (1, 1, 5, 5))]
    source = write(tmp_path / "source", {"a.png": shapes})
    assert convert_dataset(source, tmp_path / "refused") == 1
    assert "leave all of 'car' out with --drop 'car'" in " ".join(capsys.readouterr().err.split())
    assert convert_dataset(source, tmp_path / "out", "--drop", "car") == 0
    assert segments_of(tmp_path / "out") == {"a.png": seen_of([("cat", (1, 1, 5, 5))], HEIGHT, WIDTH)}


@pytest.mark.parametrize(
    ("shapes", "attributes", "said"),
    [
        (
            [shape("box", xtl=1, ytl=1, xbr=5, ybr=5)],
            {},
            "image a.png: a box of 'car': a box does not say which pixels",
        ),
        ([shape("polygon", "dog", points="1,1;5,1;5,5")], {}, "a polygon has the label 'dog', which the file does not"),
        ([shape("blob")], {}, "a blob of 'car': this kind of shape is unknown"),
        ([shape("polygon", points="1,1;5;5,5")], {}, "points must be written x,y;x,y..., found '1,1;5;5,5'"),
        ([shape("polygon", points="1,1;5,b;5,5")], {}, "a polygon of 'car' must be a number, found 'b'"),
        ([shape("polygon", points="1,1;5,1;5,5", z_order="x")], {}, "z_order must be a whole number, found 'x'"),
        ([shape("mask", rle="1, 2", left=0, top=0, width=2, height=2)], {}, "its runs make 3 pixels, but the mask has"),
        ([shape("mask", rle="a", left=0, top=0, width=2, height=2)], {}, "rle must be a whole number, found 'a'"),
        ([shape("mask", rle="4", left=0, top=0, width=2)], {}, "height must be a whole number, found None"),
        ([shape("mask", rle="9" * 5000, left=0, top=0, width=2, height=2)], {}, "must be a whole number"),
        ([], {"width": 7}, "is 19 x 14, but its labels are made for 7 x 14"),
        ([], {"width": "wide"}, "image a.png: width must be a whole number, found 'wide'"),
        ([], {"width": -7}, "image a.png: has no size"),
        ([], {"subset": "../../x"}, "the split '../../x' cannot be part of a file's name"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(shapes, attributes: dict, said: str, tmp_path: Path, capsys):
    source = write(tmp_path / "source", {"a.png": [*shapes, polygon("car", (1, 1, 5, 5))]}, **attributes)
    before = sorted(tmp_path.iterdir())
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("</annotations>", "", "annotations.xml: not valid XML"),
        ("<annotations>", "<!DOCTYPE a []><annotations>", "annotations.xml: declares a document type"),
        ('name="a.png"', 'name="../a.png"', "leaves its folder"),
        ('name="a.png"', 'name="b.png"', "the image b.png is not in"),
        ('name="a.png"', "", "'file_name' must be a non-empty text, found None"),
        ("<label>", "<lable>", "not valid XML"),
        ("<meta>", "<track/><meta>", "is a video's"),
        ("labels>", "nothing>", "has no labels"),
    ],
)
def test_damaged_files_are_named(old: str, new: str, said: str, tmp_path: Path, capsys):
    source = write(tmp_path / "source", {"a.png": [polygon("car", (1, 1, 5, 5))]})
    text = (source / "annotations.xml").read_text()
    assert old in text
    (source / "annotations.xml").write_text(text.replace(old, new))
    assert convert_dataset(source, tmp_path / "out", "--from", "cvat") == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_subsets_and_shapes_as_datumaro_reads_them(shared: Path, tmp_path: Path, capsys):
    folder = shared / "fixtures" / "datumaro" / "cvat_dataset"
    project = folder / "for_images" / "export_project"
    assert convert_dataset(project, tmp_path / "refused") == 1
    assert "img0.jpg: a box of 'label1'" in " ".join(capsys.readouterr().err.split())
    shutil.copytree(project, tmp_path / "source")
    path = tmp_path / "source" / "annotations.xml"
    path.write_text(re.sub(r"<box.*?</box>", "", path.read_text(), flags=re.DOTALL))
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert said.count("a polyline of 'label2': has no area") == said.count("a points of 'label2': has no area") == 3
    triangle = coco_mask.decode(coco_mask.frPyObjects([[1.0, 2, 3, 4, 6, 5]], 10, 10))[..., 0] > 0
    for split in ("train", "val", "test"):
        expected = {"img0.jpg": set(), "img1.jpg": {("label1", False, pixels(triangle))}}
        assert segments_of(tmp_path / "out", split) == expected
    assert convert_dataset(folder / "for_video", tmp_path / "video") == 1
    assert "is a video's. Export the task as 'CVAT for images 1.1'" in " ".join(capsys.readouterr().err.split())
    task = folder / "for_images" / "export_task" / "train.xml"
    assert convert_dataset(task, tmp_path / "task") == 1
    assert "img0.jpg: a polyline has the label ''" in " ".join(capsys.readouterr().err.split())
