from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.errors import DatasetError
from panoptic_blend.inference.sources import ImageFiles, describe_left_out, find_images


def _names(*inputs: Path | str, leave_out: Sequence[Path] = ()) -> list[str]:
    return [file.name for file in find_images([str(each) for each in inputs], leave_out).files]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.PNG", "sub dir/ä.jpeg", "sub dir/deep/c.jpg", "notes.txt", ".hidden.jpg", ".git/d.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(path, format="PNG")
    return tmp_path / "photos"


def test_a_folder_stands_for_all_images_below_it(photos: Path):
    assert _names(photos) == ["a.jpg", "b.PNG", "sub dir/ä.jpeg", "sub dir/deep/c.jpg"]


def test_files_keep_their_name_and_need_no_known_extension(photos: Path):
    assert _names(photos / "sub dir" / "ä.jpeg", photos / "notes.txt") == ["ä.jpeg", "notes.txt"]


def test_patterns_name_from_their_fixed_part_on(photos: Path):
    assert _names(f"{photos}/*.jpg") == ["a.jpg"]
    assert _names(f"{photos}/**/*.jp*g") == ["a.jpg", "sub dir/deep/c.jpg", "sub dir/ä.jpeg"]


def test_a_picture_named_twice_is_predicted_once(photos: Path):
    assert _names(photos / "a.jpg", photos, f"{photos}/*.jpg") == [
        "a.jpg",
        "b.PNG",
        "sub dir/ä.jpeg",
        "sub dir/deep/c.jpg",
    ]


def test_two_pictures_never_share_a_name(photos: Path, tmp_path: Path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.jpg")
    assert _names(photos / "a.jpg", tmp_path / "a.jpg") == ["a.jpg", f"{tmp_path.name}/a.jpg"]


def test_results_inside_the_input_are_left_out(photos: Path):
    assert _names(photos, leave_out=[photos / "sub dir", photos / "none"]) == ["a.jpg", "b.PNG"]


@pytest.mark.parametrize("name", ["missing.jpg", "missing/*.jpg", "empty"])
def test_an_input_without_images_is_named(photos: Path, name: str):
    (photos / "empty").mkdir()
    with pytest.raises(DatasetError, match=name[:5]):
        find_images([str(photos / name)], ())


def test_pictures_are_read_when_asked_for_and_numbered_from_one(photos: Path):
    source = ImageFiles(find_images([str(photos)], ()).files)
    assert len(source) == 4
    sample = source[2]
    assert (sample.record.image_id, sample.record.file_name) == (3, "sub dir/ä.jpeg")
    assert (sample.record.width, sample.record.height) == (4, 3)
    assert np.array_equal(sample.image, np.zeros((3, 4, 3), np.uint8))
    (photos / "a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"a\.jpg"):
        source[0]


@pytest.mark.parametrize("name", ["caf\udce9.jpg", "b:1.jpg"])
def test_a_name_that_results_cannot_have_is_told_like_an_unreadable_picture(tmp_path: Path, name: str):
    try:
        Image.new("RGB", (4, 3)).save(tmp_path / name)
    except OSError:
        pytest.skip("this file system has no such names")
    source = ImageFiles(find_images([str(tmp_path)], ()).files)
    with pytest.raises(DatasetError, match="Rename it"):
        source[0]


def test_an_input_without_a_name_is_refused():
    with pytest.raises(DatasetError, match="no name"):
        find_images([""], ())


def test_folders_are_followed_through_links_but_not_in_circles(photos: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "elsewhere" / "e.jpg")
    (photos / "sub dir" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(photos)
    assert _names(photos / "sub dir") == ["ä.jpeg", "deep/c.jpg", "link/e.jpg", "link/back/a.jpg", "link/back/b.PNG"]


def test_a_link_takes_nothing_from_the_folder_it_leads_to(photos: Path):
    (photos / "first").symlink_to(photos / "sub dir" / "deep")
    assert _names(photos) == ["a.jpg", "b.PNG", "first/c.jpg", "sub dir/ä.jpeg", "sub dir/deep/c.jpg"]


def test_a_folder_that_cannot_be_looked_into_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: str) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"photos: cannot be looked into \(Permission denied\)"):
        find_images([str(photos)], ())


def test_every_format_that_pillow_decodes_counts_and_everything_else_is_counted(tmp_path: Path):
    readable = ["a.AVIF", "b.bmp", "c.jfif", "d.JPE", "e.j2k", "f.mpo", "g.pnm", "h.tga", "i.webp", "j.apng", "k.dib"]
    others = ["m.txt", "n.TXT", "o.mp4", "p.h5", "q.mpg", "README", "s.pdf", "t.heic.bak"]
    for name in [*readable, *others, ".DS_Store", ".thumbnails/u.png", "out/predictions/v.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for inputs in ([str(tmp_path)], [f"{tmp_path}/*"], [str(tmp_path), f"{tmp_path}/*"]):
        found = find_images(inputs, [tmp_path / "out" / "predictions"])
        assert [file.name for file in found.files] == readable
        assert describe_left_out(sorted(found.left_out)) == (
            "left out 8 files that are no images: .txt 2, without extension 1, .mp4 1, .h5 1, .mpg 1, .pdf 1, .bak 1"
        )
    named = find_images([str(tmp_path), str(tmp_path / "o.mp4")], [tmp_path / "out"])
    assert [file.name for file in named.files] == [*readable, "o.mp4"]
    assert tmp_path / "o.mp4" not in named.left_out


def test_what_is_left_out_stays_one_short_line():
    assert describe_left_out([]) == ""
    assert describe_left_out([Path("a.mp4")]) == "left out 1 file that is no image: .mp4 1"
    many = [Path(f"scan.{number:03}") for number in range(500)]
    assert describe_left_out(many).endswith(".006 1, .007 1, others 492")


def test_a_folder_without_images_says_what_it_has(tmp_path: Path):
    (tmp_path / "film.mp4").touch()
    with pytest.raises(DatasetError, match=r"no images here \(left out 1 file that is no image: \.mp4 1\)"):
        find_images([str(tmp_path)], ())
