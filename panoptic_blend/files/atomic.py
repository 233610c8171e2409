"""Files and folders appear whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from panoptic_blend.errors import ConfigError
from panoptic_blend.files.lock import UNFINISHED, held_alone, hold_folder, remove_abandoned
from panoptic_blend.files.room import written_as


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well.

    Missing folders are made. When the block raises, the temporary file is removed and an older `path` stays as it was.
    What a process left that was killed is overwritten by the next one that writes this path, but on Windows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_file(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """A hidden file beside another, removed when the block raises.

    Its name is always the same, so that nothing piles up, except while another process or thread writes that path. It
    is short, as the final one may already be as long as the file system allows.
    """
    temporary = path.with_name(f".{hashlib.md5(path.name.encode(), usedforsecurity=False).hexdigest()}{UNFINISHED}")
    with written_as(path, temporary), held_alone(temporary) as alone:
        if alone:
            yield temporary
            return
    temporary = path.with_name(f".{uuid.uuid4().hex}{UNFINISHED}")
    try:
        with written_as(path, temporary):
            yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder`, a new one, when the block ends well; else it is removed.

    What a process of this machine left that was killed is removed by the next one that makes this folder, but on
    Windows.

    Raises:
        ConfigError: the folder has something in it already, or cannot be replaced.
    """
    check_new_folder(folder)
    folder = Path(os.path.realpath(folder))  # a link stays, and what it leads to is made
    with _hidden_folder(folder.name, folder.parent) as temporary, written_as(folder, temporary):
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())  # mkdtemp's folder is its owner's alone
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)


@contextmanager
def temporary_folder(name: str, beside: Path) -> Iterator[Path]:
    """An empty folder that is removed when the block ends, or, after a `kill -9`, when this machine makes the next.

    Args:
        name: of what it is for.
        beside: folder to make it in, on a disk with room.
    """
    with _hidden_folder(name, beside) as temporary, written_as(temporary):
        yield temporary


@contextmanager
def _hidden_folder(name: str, beside: Path) -> Iterator[Path]:
    """A folder that is gone after the block; those of the name that a killed process of this machine left are removed.

    Other machines' are left alone: network file systems do not tell them that a folder is held.
    """
    beside.mkdir(parents=True, exist_ok=True)
    machine = hashlib.md5(socket.gethostname().encode(), usedforsecurity=False).hexdigest()[:8]
    for left in beside.glob(f".{glob.escape(name)}-{machine}-????????{UNFINISHED}"):
        remove_abandoned(left)
    with ExitStack() as stack:
        while True:
            temporary = _new_folder(f".{name}-{machine}-", beside, name)
            with suppress(BlockingIOError):
                stack.enter_context(hold_folder(temporary))
                if temporary.is_dir():
                    break
            # Taken for one that was left, just before it was held.
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _new_folder(prefix: str, beside: Path, name: str) -> Path:
    try:
        return Path(tempfile.mkdtemp(UNFINISHED, prefix, beside))
    except OSError as error:
        error.filename = str(beside / name)  # what a person knows
        raise


def check_new_folder(folder: Path) -> None:
    """Raise `ConfigError` when the folder has something in it already, or is one that no other can replace."""
    if not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise ConfigError(f"{folder}: is there already. Choose a new folder, or remove this one.")
    if os.path.ismount(folder) or folder.samefile("."):
        what = "a disk of its own" if os.path.ismount(folder) else "the current folder"
        raise ConfigError(
            f"{folder}: is {what}, which cannot be replaced. Choose a new folder in it: {folder / 'new'}."
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
