from __future__ import annotations

import errno
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image

from panoptic_blend.errors import DatasetError
from panoptic_blend.inference.overlays import overlay_path, write_overlay


def test_an_overlay_is_named_as_the_id_map(tmp_path: Path):
    assert overlay_path(tmp_path, "a/b.png") == tmp_path / "overlays" / "a" / "b.jpg"
    assert overlay_path(tmp_path, "a/b.png.png") == tmp_path / "overlays" / "a" / "b.png.jpg"


@pytest.mark.parametrize(
    ("size", "written"),
    [((65500, 3), (65500, 3)), ((68000, 400), (65500, 385)), ((3, 131000), (1, 65500)), ((90000, 1), (65500, 1))],
)
def test_an_overlay_is_shrunk_to_what_jpeg_can_hold(size: tuple[int, int], written: tuple[int, int], tmp_path: Path):
    write_overlay(tmp_path / "a.jpg", lambda: Image.new("RGB", size, (200, 30, 30)))
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.size) == ("JPEG", written)


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def cut(self: Path, data: bytes) -> NoReturn:
        with open(self, "wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", cut)
    with pytest.raises(OSError, match="No space left"):
        write_overlay(tmp_path / "a.jpg", lambda: Image.new("RGB", (40, 30)))
    assert not list(tmp_path.iterdir())


def test_an_overlay_that_takes_too_much_memory_is_left_out_and_named(tmp_path: Path):
    def draw() -> NoReturn:
        raise MemoryError

    with pytest.raises(DatasetError, match=r"a\.jpg: left out"):
        write_overlay(tmp_path / "a.jpg", draw)
