from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from panoptic_blend.cli import main
from panoptic_blend.files.atomic import atomic_folder, atomic_path
from panoptic_blend.files.journal import Journal
from panoptic_blend.files.room import NO_ROOM
from panoptic_blend.synthetic.shapes import generate_shapes

resource = pytest.importorskip("resource")


@contextmanager
def refused(largest: int = 100) -> Iterator[pytest.ExceptionInfo[OSError]]:
    """No file can be written beyond its first so many bytes, which the block meets."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as told:
            yield told
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_finds_no_room_is_told_by_the_name_it_would_have_had(tmp_path: Path) -> None:
    with refused() as told, atomic_path(tmp_path / "a.json") as unfinished:
        unfinished.write_bytes(bytes(1000))
    assert told.value.filename == str(tmp_path / "a.json")
    with refused() as told, atomic_folder(tmp_path / "out") as unfinished:
        write_below(unfinished)
    assert told.value.filename == str(tmp_path / "out" / "sub" / "b.png")
    assert list(tmp_path.iterdir()) == []


def write_below(folder: Path) -> None:
    with atomic_path(folder / "sub" / "b.png") as file:
        file.write_bytes(bytes(1000))


def test_a_file_that_is_elsewhere_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="input"), atomic_path(tmp_path / "a.json"):
        (tmp_path / "input").read_bytes()
    with pytest.raises(OSError, match="Input/output") as told, atomic_path(tmp_path / "a.json"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # of what is read, perhaps
    assert told.value.filename is None


def test_a_journal_goes_on_after_the_row_that_found_no_room(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    journal = Journal(path)
    journal.append("a" * 40)
    with refused() as told:
        journal.append("b" * 200)
    assert told.value.filename == str(path)
    with refused():
        journal.close()
    with Journal(path) as again:
        again.append("c")
        assert [row for _, row in again] == ["a" * 40, "c"]


@pytest.mark.parametrize("number", NO_ROOM)
def test_the_command_line_says_which_file_and_what_to_do(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> None:
        raise OSError(number, os.strerror(number), "out/scores.json")

    monkeypatch.setattr("panoptic_blend.commands.score.run", fail)
    assert main(["score"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"out/scores.json: cannot be written ({os.strerror(number)}). Make room" in said


@pytest.mark.parametrize("missing", [1, 11, 2000])
def test_a_generated_picture_is_whole_or_told(shapes: Path, tmp_path: Path, missing: int) -> None:
    """A disk takes what it has room for: the end of a picture alone may be lost."""
    size = (shapes / "train" / "train_000000.jpg").stat().st_size
    with refused(size - missing) as told:
        generate_shapes(tmp_path, train=7, val=3, seed=5)
    assert told.value.filename == str(tmp_path / "train" / "train_000000.jpg")
