from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from panoptic_blend.errors import FolderInUseError
from panoptic_blend.files.lock import LOCK, lock_folder

HOLD = """
import os, sys, time
from pathlib import Path
from panoptic_blend.files.lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    is_child = bool(sys.argv[2:]) and os.fork() == 0
    if is_child or not sys.argv[2:]:
        print(os.getpid(), flush=True)  # the child itself: only then it is sure to run
    time.sleep(60)
"""


def hold(folder: Path, *fork: str) -> tuple[subprocess.Popen[str], int]:
    """Another process that has the lock, and the id of the one it forked, or its own if it was not told to."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *fork], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def assert_refused(folder: Path, owner: str) -> None:
    with pytest.raises(FolderInUseError) as refused, lock_folder(folder):
        pass
    assert str(folder) in str(refused.value)
    assert owner in str(refused.value)


def test_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with lock_folder(folder):
        assert_refused(folder, f"process {os.getpid()} on {socket.gethostname()}, since ")
        with lock_folder(tmp_path / "another"):
            pass
    assert list(folder.iterdir()) == []
    with lock_folder(folder):
        pass


def test_an_error_in_the_block_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path):
        _ = 1 / 0
    with lock_folder(tmp_path):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_lock_lives_as_long_as_the_process(number: int, tmp_path: Path) -> None:
    process, _ = hold(tmp_path)
    assert_refused(tmp_path, f"process {process.pid} on ")
    process.send_signal(number)
    process.wait()
    assert (tmp_path / LOCK).exists()  # nobody could remove it
    with lock_folder(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / LOCK).read_text()


def test_a_folder_can_be_waited_for(tmp_path: Path) -> None:
    process, _ = hold(tmp_path)
    threading.Timer(0.3, process.kill).start()
    with lock_folder(tmp_path, wait=True):
        assert process.wait() == -signal.SIGKILL
        assert_refused(tmp_path, f"process {os.getpid()} on ")


@pytest.mark.parametrize("content", [b"", b"process 1 on another-machine, since 2020-01-01 00:00:00", b"\xff" * 1000])
def test_a_file_that_was_left_behind_is_taken_over(content: bytes, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(content)
    with lock_folder(tmp_path):
        assert_refused(tmp_path, f"process {os.getpid()} on ")


def test_forked_processes_do_not_prolong_it(tmp_path: Path) -> None:
    process, child = hold(tmp_path, "fork")
    process.kill()
    process.wait()
    with lock_folder(tmp_path):
        os.kill(child, signal.SIGKILL)


def test_a_file_removed_at_the_last_moment_is_not_locked_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from panoptic_blend.files import lock

    original, calls = lock._lock, iter(range(10))

    def owner_leaves_first(file: int) -> None:
        if next(calls) == 0:
            (tmp_path / LOCK).unlink()
        original(file)

    monkeypatch.setattr(lock, "_lock", owner_leaves_first)
    with lock_folder(tmp_path):
        monkeypatch.undo()
        assert_refused(tmp_path, "process")


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(file: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("panoptic_blend.files.lock._lock", no_locks)
    with lock_folder(tmp_path):
        pass
    assert "this file system has no locks (No locks available)" in caplog.text
