from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from panoptic_blend.files.atomic import atomic_folder, atomic_path, temporary_folder
from panoptic_blend.files.lock import lock_folder

PROGRAM = """
import os, signal, sys
from pathlib import Path
from panoptic_blend.files.atomic import atomic_folder, atomic_path, temporary_folder
from panoptic_blend.files.lock import lock_folder
place = Path(sys.argv[1])
if sys.argv[2] == "folder":
    with atomic_folder(place) as unfinished:
        (unfinished / "some").write_text("text")
        os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[2] == "temporary":
    with temporary_folder(place.name, place.parent) as folder:
        (folder / "file").write_text("text")
        os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[2] == "just before":
    os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
    with atomic_folder(place) as unfinished:
        (unfinished / "some").write_text("text")
elif sys.argv[2] == "alone":
    with atomic_path(place) as unfinished:
        unfinished.write_text("a long text")
        os.kill(os.getpid(), signal.SIGKILL)
else:
    with lock_folder(place), atomic_path(place / "below" / "file") as unfinished:
        unfinished.write_text("text")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def be_killed(place: Path, kind: str) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(place), kind])
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
@pytest.mark.parametrize("moment", ["folder", "just before"])
def test_the_next_process_takes_away_what_a_killed_one_left(moment: str, tmp_path: Path):
    (tmp_path / ".out-12345678-notours0.tmp").mkdir()  # of another machine
    be_killed(tmp_path / "out", moment)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_folder(tmp_path / "out") as running:
        (running / "file").write_text("x")
        with atomic_folder(tmp_path / "out[1]"):
            pass
        with suppress(KeyError), atomic_folder(tmp_path / "out"):
            assert running.is_dir()  # another process's, which is at work
            raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out-12345678-notours0.tmp", "out", "out[1]"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_temporary_folder_goes_with_its_block_or_with_the_next(tmp_path: Path):
    with suppress(KeyError), temporary_folder("a", tmp_path / "below") as folder:
        (folder / "file").write_text("x")
        raise KeyError
    assert list((tmp_path / "below").iterdir()) == []
    be_killed(tmp_path / "a", "temporary")
    assert len(list(tmp_path.glob(".a-*/file"))) == 1
    with temporary_folder("a", tmp_path) as folder:
        assert list(folder.iterdir()) == []
        assert len(list(tmp_path.glob(".a-*"))) == 1
    assert list(tmp_path.glob(".a-*")) == []


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_unfinished_files_go_with_the_next_lock(tmp_path: Path):
    be_killed(tmp_path / "out", "file")
    below = tmp_path / "out" / "below"
    (below / ".mine.tmp").write_text("x")
    assert len(list(below.iterdir())) == 2
    with lock_folder(tmp_path / "out"):
        assert [path.name for path in below.iterdir()] == [".mine.tmp"]
        with atomic_path(below / "file") as unfinished:
            unfinished.write_text("text")
            with suppress(KeyError), atomic_path(below / "file"):
                raise KeyError
            assert unfinished.is_file()
    assert sorted(path.name for path in below.iterdir()) == [".mine.tmp", "file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows renames no file that is held")
def test_a_file_is_written_over_what_a_killed_process_left_of_it(tmp_path: Path):
    for _ in range(2):
        be_killed(tmp_path / "file", "alone")
        assert len(list(tmp_path.iterdir())) == 1
    with atomic_path(tmp_path / "file") as unfinished:
        assert unfinished.read_text() == ""
        unfinished.write_text("text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "text"


def test_many_that_write_the_same_file_at_once_do_not_meet(tmp_path: Path):
    texts = [str(number) * 10_000 for number in range(16)]

    def write(text: str) -> str:
        for _ in range(50):
            with atomic_path(tmp_path / "file") as unfinished, unfinished.open("w") as file:
                for start in range(0, len(text), 1000):
                    file.write(text[start : start + 1000])
                    file.flush()
        return (tmp_path / "file").read_text()

    with ThreadPoolExecutor(len(texts)) as threads:
        read = list(threads.map(write, texts))
    assert set(read) <= set(texts)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows renames no file that is held")
def test_without_locks_files_are_written_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_locks(file: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("panoptic_blend.files.lock._lock", no_locks)
    for text in ("one", "two"):
        with atomic_path(tmp_path / "file") as unfinished:
            unfinished.write_text(text)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "two")]


@pytest.mark.skipif(os.name == "nt", reason="Windows renames no file that is held")
def test_where_a_locked_file_cannot_be_written_another_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def mandatory_lock(path: Path, content: bytes) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("panoptic_blend.files.lock._lets_write", {})
    with monkeypatch.context() as smb:
        smb.setattr(Path, "write_bytes", mandatory_lock)
        with atomic_path(tmp_path / "file") as unfinished:
            assert list(tmp_path.iterdir()) == []  # nothing is held
            unfinished.touch()
    with atomic_path(tmp_path / "file") as unfinished:
        unfinished.write_bytes(b"text")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"text")]


@pytest.mark.skipif(os.name == "nt", reason="Windows renames no file that is held")
def test_a_link_at_the_place_of_an_unfinished_file_is_not_followed(tmp_path: Path):
    with atomic_path(tmp_path / "file") as unfinished:
        unfinished.write_text("old")
    (tmp_path / "precious").write_text("precious")
    unfinished.symlink_to(tmp_path / "precious")
    with atomic_path(tmp_path / "file") as another:
        assert another != unfinished
        another.write_text("new")
    assert ((tmp_path / "precious").read_text(), (tmp_path / "file").read_text()) == ("precious", "new")
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="Windows renames no file that is held")
def test_what_fails_once_the_file_is_there_takes_nothing_from_the_next_writer(tmp_path: Path):
    other = ExitStack()
    with suppress(KeyboardInterrupt), atomic_path(tmp_path / "file") as unfinished:
        unfinished.write_text("ours")
        os.replace(unfinished, tmp_path / "file")
        theirs = other.enter_context(atomic_path(tmp_path / "file"))
        assert theirs == unfinished
        raise KeyboardInterrupt
    theirs.write_text("theirs")
    other.close()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "theirs")]


@pytest.mark.skipif(os.name == "nt", reason="files are made in another way there")
@pytest.mark.parametrize("make", [atomic_path, atomic_folder])
def test_what_cannot_be_made_is_told_by_the_name_it_would_have_had(make, tmp_path: Path, monkeypatch):
    def refuse(path: object, *others: object, **more: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))  # type: ignore[call-overload]

    with monkeypatch.context() as full:
        full.setattr("os.open", refuse)
        full.setattr("os.mkdir", refuse)
        with pytest.raises(OSError, match="No space") as told, make(tmp_path / "out"):
            pass
    assert told.value.filename == str(tmp_path / "out")


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be held")
def test_a_folder_that_is_taken_away_before_it_is_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from panoptic_blend.files import lock

    original, taken = lock._lock, []

    def another_process_is_first(file: int) -> None:
        for path in tmp_path.glob(".out-*.tmp"):
            if not taken:
                taken.append(path)
                path.rmdir()
                raise BlockingIOError
        original(file)

    monkeypatch.setattr(lock, "_lock", another_process_is_first)
    with atomic_folder(tmp_path / "out") as unfinished:
        (unfinished / "file").write_text("x")
    assert taken
    assert taken[0] != unfinished
    assert (tmp_path / "out" / "file").read_text() == "x"
