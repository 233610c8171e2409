from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.convert import archive
from tests.convert.scenes import convert_dataset, pixels, segments_of, write_image, write_map

ROAD = {"a.jpg": {("road", False, pixels(np.ones((2, 3), bool)))}}
CAR = {"a.jpg": {("car", False, pixels(np.ones((2, 3), bool)))}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image with a label map in one place, a LabelMe JSON in another and an instances JSON in a third."""
    root = tmp_path / "parts"
    write_image(root / "maps" / "images" / "a.jpg", 2, 3)
    write_map(root / "maps" / "labels" / "a.png", np.ones((2, 3), np.uint8))
    write_image(root / "labelme" / "a.jpg", 2, 3)
    outline = [0, 0, 3, 0, 3, 2, 0, 2]
    shape = {"label": "car", "points": np.reshape(outline, (4, 2)).tolist(), "shape_type": "polygon", "flags": {}}
    content = {"imagePath": "a.jpg", "imageHeight": 2, "imageWidth": 3, "shapes": [shape]}
    (root / "labelme" / "a.json").write_text(json.dumps(content))
    write_image(root / "coco" / "images" / "default" / "a.jpg", 2, 3)
    (root / "coco" / "annotations").mkdir()
    row = {"image_id": 1, "category_id": 1, "segmentation": [outline]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 3, "height": 2}],
        "annotations": [row],
        "categories": [{"id": 1, "name": "car"}],
    }
    (root / "coco" / "annotations" / "instances_default.json").write_text(json.dumps(content))
    return root


def pack(folder: Path, path: Path, above: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for each in sorted(folder.rglob("*")):
            file.write(each, above + each.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("above", ["", "export/", "export/of today/"])
@pytest.mark.parametrize("kind", ["labelme", "coco"])
@pytest.mark.parametrize("is_said", [False, True])
def test_an_archive_is_read_as_its_folder(above: str, kind: str, is_said: bool, folder: Path, tmp_path: Path, capsys):
    path = pack(folder / kind, tmp_path / "my.zip", above)
    name = "coco-instances" if kind == "coco" else kind
    before = {*tmp_path.iterdir(), tmp_path / "out"}
    assert convert_dataset(path, tmp_path / "out", *(["--from", name] if is_said else [])) == 0
    assert (f"my.zip looks like {name}." in capsys.readouterr().out) != is_said
    assert segments_of(tmp_path / "out") == CAR
    assert (tmp_path / "out" / "train" / "a.jpg").is_file()
    assert set(tmp_path.iterdir()) == before


def test_what_a_mac_adds_is_passed_over(folder: Path, tmp_path: Path):
    path = pack(folder / "maps", tmp_path / "my.zip", "maps/")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__MACOSX/maps/images/._a.jpg", b"x")
        file.writestr(".DS_Store", b"x")
    (tmp_path / "names.txt").write_text("1 road\n")
    assert convert_dataset(path, tmp_path / "out", "--labels", str(tmp_path / "names.txt")) == 0
    assert segments_of(tmp_path / "out") == ROAD


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil.json", "an entry: file_name '../evil.json' leaves its folder"),
        ("a/../../evil.json", "an entry: file_name 'a/../../evil.json' leaves its folder"),
        ("/tmp/evil.json", "an entry: file_name '/tmp/evil.json' leaves its folder"),
        ("..\\evil.json", "leaves its folder"),
        ("C:/evil.json", "an entry: file_name 'C:/evil.json' leaves its folder"),
        (link("evil"), "evil is a link. Pack files only."),
        ("a.json", "has two files of one name"),
        ("a.json/b.json", "cannot be unpacked"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_do_harm_are_refused(name, said: str, folder: Path, tmp_path: Path, capsys):
    path = pack(folder / "labelme", tmp_path / "my.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    assert convert_dataset(path, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{path}: ")
    assert said in error
    assert sorted(tmp_path.rglob("*")) == before


def test_bombs_are_refused_before_anything_is_written(tmp_path: Path, monkeypatch, capsys):
    path = tmp_path / "my.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.json", bytes(10**6))
    monkeypatch.setattr(archive, "_SMALL", 10**5)
    monkeypatch.setattr(archive.shutil, "copyfileobj", None)
    assert convert_dataset(path, tmp_path / "out") == 1
    assert "bytes would become 1000000, as in archives made to fill disks" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_more_than_the_disk_has_room_for_is_refused(folder: Path, tmp_path: Path, monkeypatch, capsys):
    path = pack(folder / "labelme", tmp_path / "my.zip")
    usage = archive.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage._replace(free=100))
    assert convert_dataset(path, tmp_path / "out") == 1
    assert "but there is room for 100. Make room." in capsys.readouterr().err


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path, capsys):
    path = tmp_path / "my.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.json", bytes(10**6))
    path.write_bytes(path.read_bytes().replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert convert_dataset(path, tmp_path / "out") == 1
    assert "my.zip: cannot be unpacked (Bad CRC-32 for file 'a.json')" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_archives_are_refused(folder: Path, tmp_path: Path, capsys):
    whole = pack(folder / "coco", tmp_path / "whole.zip").read_bytes()
    path = tmp_path / "my.zip"
    encrypted = bytearray(whole)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := encrypted.find(signature, start + 1)) >= 0:
            encrypted[start + place] |= 1
    for content, said in (
        (whole[:-30], "my.zip: cannot be unpacked (File is not a zip file)"),
        (whole[: len(whole) // 2], "my.zip: cannot be unpacked"),
        (b"", "my.zip: cannot be unpacked"),
        (bytes(encrypted), "is encrypted. Pack it without a password"),
    ):
        path.write_bytes(content)
        before = sorted(tmp_path.iterdir())
        assert convert_dataset(path, tmp_path / "out") == 1
        assert said in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before


def test_errors_inside_name_the_archive(folder: Path, tmp_path: Path, capsys):
    (folder / "labelme" / "a.jpg").write_bytes(b"x")
    path = pack(folder / "labelme", tmp_path / "my.zip")
    assert convert_dataset(path, tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith(f"{path}/a.jpg: is not an image")


def test_several_data_sets_in_an_archive(folder: Path, tmp_path: Path, capsys):
    annotations = folder / "coco" / "annotations"
    (annotations / "instances_more.json").write_bytes((annotations / "instances_default.json").read_bytes())
    assert convert_dataset(pack(folder / "coco", tmp_path / "my.zip"), tmp_path / "out") == 1
    assert "instances_default.json: is not alone" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--link", "--leave"])
def test_images_of_an_archive_cannot_stay_in_it(option: str, folder: Path, tmp_path: Path, capsys):
    assert convert_dataset(pack(folder / "labelme", tmp_path / "my.zip"), tmp_path / "out", option) == 2
    assert f"{option}: {tmp_path / 'my.zip'} is unpacked for the conversion only" in capsys.readouterr().err


def test_an_archive_without_a_data_set(tmp_path: Path, capsys):
    (tmp_path / "some").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "some" / "a.png")
    assert convert_dataset(pack(tmp_path / "some", tmp_path / "my.zip"), tmp_path / "out") == 1
    assert "my.zip: looks like none of the formats" in capsys.readouterr().err
