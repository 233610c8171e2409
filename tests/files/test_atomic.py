from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
    (tmp_path / ".out-notours0").mkdir()
    be_killed(tmp_path / "out", moment)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_folder(tmp_path / "out") as running:
        (running / "file").write_text("x")
        with atomic_folder(tmp_path / "out[1]"):
            pass
        with suppress(KeyError), atomic_folder(tmp_path / "out"):
            assert running.is_dir()  # another process's, which is at work
            raise KeyError
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out-notours0", "out", "out[1]"]
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
