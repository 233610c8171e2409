"""One command at a time writes into a folder, and one process at a time makes what many of them need."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from panoptic_blend.errors import FolderInUseError
from panoptic_blend.files.room import written_as

LOCK = ".lock"
UNFINISHED = ".tmp"
"""Ending of the names of files and folders that are not whole yet. A file's is hidden, and 32 digits before it."""
_LOOK_AGAIN = 0.2
"""Seconds between two looks at a lock that is waited for."""

_held: set[int] = set()
"""Open lock files of this process."""

_lets_write: dict[int, bool] = {}
"""By device: whether a file that is locked can be written by another descriptor. SMB's cannot (flock(2))."""


@contextmanager
def lock_folder(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other commands from writing into a folder while the block runs.

    The operating system holds the lock, on a file in the folder, for as long as this process lives: after `kill -9` or
    a power cut the folder is free again, whatever file is left behind. Shared file systems hold it between machines.
    What the file says is only read to tell people who holds the lock. Unfinished files of a process that was killed
    while it held the lock are removed.

    Args:
        folder: made if it is missing.
        wait: until the folder is free, instead of raising.

    Raises:
        FolderInUseError: another command holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    was_killed = (folder / LOCK).exists()  # who ends otherwise takes it along
    with _locked(folder / LOCK, _wait_for_lock(folder / LOCK) if wait else _open_locked(folder / LOCK)) as file:
        if os.fstat(file).st_size:  # else some file systems would write an empty file out, and wait
            os.ftruncate(file, 0)
        if was_killed:
            _remove_unfinished(folder)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with written_as(folder / LOCK):
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {since}".encode())
        yield


@contextmanager
def first_come(path: Path) -> Iterator[bool]:
    """Let the first of many processes make something while the block runs, and the others wait for it before theirs.

    Where no lock can be had, for lack of leave to write or since the file system has none, each is a first one.

    Args:
        path: of the lock, a file that is there for as long as it is held.

    Yields:
        True for the first, who holds the lock; False for one that waited, which holds it no more: should the first
        have made nothing, the others go on side by side.
    """
    first = True
    try:
        file = _open_locked(path, warn=False)
    except FolderInUseError:
        first = False
    except OSError:
        yield True
        return
    if first:
        with _locked(path, file):
            yield True
    else:
        with _locked(path, _wait_for_lock(path)):
            pass
        yield False


@contextmanager
def _locked(path: Path, file: int) -> Iterator[int]:
    """Give a lock free when the block ends."""
    _held.add(file)
    try:
        yield file
    finally:
        _held.discard(file)
        if sys.platform != "win32":  # which removes no open files; there an unlocked one stays behind
            path.unlink(missing_ok=True)
        os.close(file)


@contextmanager
def held_alone(path: Path) -> Iterator[bool]:
    """Hold a file, made if it is missing, that may be renamed or removed while the block runs.

    When the block raises, the file is removed.

    Yields:
        True if it is empty now and nobody else holds it; False where somebody does, where that is not certain, and
        where what is held cannot be written.
    """
    file = None if sys.platform == "win32" else _open_alone(path)  # Windows renames no open files
    if file is None:
        yield False
        return
    _held.add(file)
    try:
        os.ftruncate(file, 0)
        yield True
    except BaseException:
        if _is_there(path, file):
            path.unlink(missing_ok=True)
        raise
    finally:
        _held.discard(file)
        os.close(file)


def _open_alone(path: Path) -> int | None:
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP):  # another person's file, or a link
                return None
            raise
        try:
            _lock(file)
        except BlockingIOError:
            os.close(file)
            return None
        except OSError:  # a file system without locks: nobody uses this file
            os.close(file)
            path.unlink(missing_ok=True)
            return None
        if not _is_there(path, file):
            os.close(file)  # renamed or removed by who held it until now
        elif _can_be_written(path, file):
            return file
        else:
            path.unlink()
            os.close(file)
            return None


def _can_be_written(path: Path, file: int) -> bool:
    device = os.fstat(file).st_dev
    if device not in _lets_write:
        try:
            path.write_bytes(b"?")
        except PermissionError:
            _lets_write[device] = False
        except OSError:
            return True  # a full disk, which is told when more is written
        else:
            _lets_write[device] = True
    return _lets_write[device]


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keep `remove_abandoned` from a folder, which may be renamed or removed, while the block runs.

    Raises:
        BlockingIOError: another process holds it.
    """
    file = _open_held(folder)
    if file is None:
        yield
        return
    _held.add(file)
    try:
        yield
    finally:
        _held.discard(file)
        os.close(file)


def remove_abandoned(folder: Path) -> None:
    """Remove a folder whose process is gone. One of which that is not certain stays."""
    with suppress(BlockingIOError):
        file = _open_held(folder)
        if file is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(file)


def _open_held(folder: Path) -> int | None:
    """A folder that is held now; None where folders cannot be held, as on Windows.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        _lock(file)
    except BlockingIOError:
        os.close(file)
        raise
    except OSError:
        os.close(file)
        return None
    return file


def _remove_unfinished(folder: Path) -> None:
    for path in folder.rglob(f".*{UNFINISHED}"):
        if re.fullmatch(rf"\.[0-9a-f]{{32}}\{UNFINISHED}", path.name):
            path.unlink(missing_ok=True)


def _wait_for_lock(path: Path) -> int:
    while True:
        try:
            return _open_locked(path)
        except FolderInUseError:
            time.sleep(_LOOK_AGAIN)


def _open_locked(path: Path, warn: bool = True) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
        except BlockingIOError:
            owner = os.read(file, 200).decode(errors="replace") or "another process"
            os.close(file)
            raise FolderInUseError(
                f"{path.parent}: another command is writing here ({owner}). Wait for it, stop it, or choose another "
                "output folder."
            ) from None
        except OSError as error:
            if warn:
                logging.getLogger(__name__).warning(
                    f"{path.parent}: this file system has no locks ({error.strerror}). Make sure yourself that no two "
                    "commands write here at once."
                )
            return file
        if _is_there(path, file):
            return file
        os.close(file)  # removed by the command that held the lock until now


def _is_there(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1000, os.SEEK_SET)  # a byte beyond the text, which others must be able to read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _forget() -> None:
        """Loader processes must not hold the lock of a main process that was killed."""
        for file in _held:
            os.close(file)
        _held.clear()

    os.register_at_fork(after_in_child=_forget)
