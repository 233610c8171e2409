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

resource = pytest.importorskip("resource")


@contextmanager
def refused() -> Iterator[pytest.ExceptionInfo[OSError]]:
    """No file can be written beyond its first hundred bytes, which the block meets."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
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
