from __future__ import annotations

import os
from pathlib import Path

import pytest

from panoptic_blend.errors import ConfigError
from panoptic_blend.files.atomic import atomic_folder


def test_a_folder_appears_when_everything_is_in_it(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
        assert not any((tmp_path / "out").iterdir())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert (tmp_path / "out").stat().st_mode == _usual_mode(tmp_path / "usual")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "usual"]


def test_nothing_is_left_of_a_folder_that_failed(tmp_path: Path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "deep" / "out") as folder:
        (folder / "a" / "b.txt").write_text("b")
    assert not any((tmp_path / "deep").iterdir())


@pytest.mark.parametrize("make", [Path.touch, lambda path: os.makedirs(path / "mine")])
def test_what_is_there_stays(make, tmp_path: Path):
    make(tmp_path / "out")
    with pytest.raises(ConfigError, match="out: is there already"), atomic_folder(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_stays_and_what_it_leads_to_is_made(tmp_path: Path):
    (tmp_path / "disk" / "empty").mkdir(parents=True)
    for target in ("empty", "new"):
        link = tmp_path / target
        link.symlink_to(tmp_path / "disk" / target)
        with atomic_folder(link) as folder:
            assert folder.parent == tmp_path / "disk"
            (folder / "a.txt").write_text("a")
        assert link.is_symlink()
        assert (tmp_path / "disk" / target / "a.txt").is_file()


def test_what_cannot_be_replaced_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in (".", tmp_path):
        with (
            pytest.raises(ConfigError, match="is the current folder, which cannot be replaced"),
            atomic_folder(Path(name)),
        ):
            pytest.fail("too late")
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "disk")
    said = r"disk: is a disk of its own, which .* folder in it: .*new"
    with pytest.raises(ConfigError, match=said), atomic_folder(tmp_path / "disk"):
        pytest.fail("too late")
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]


def _usual_mode(folder: Path) -> int:
    folder.mkdir()
    return folder.stat().st_mode
