"""Zip archives that nobody vouches for, unpacked for as long as a conversion takes."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import temporary_folder
from panoptic_blend.files.names import check_file_name

_SMALL = 2**30
"""Bytes that are unpacked however small the archive is."""
_MOST_GROWTH = 200
"""Times the archive's size that its files may have together; annotations shrink to a tenth, bombs to a thousandth."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)
_ENCRYPTED = 1


def is_archive(source: Path) -> bool:
    """Whether a path is one of a zip archive, by its name."""
    return source.suffix.lower() == ".zip" and source.is_file()


@contextmanager
def unpacked(archive: Path, beside: Path) -> Iterator[Path]:
    """A folder with the files of an archive, that is removed afterwards; errors call it by the archive's name.

    Args:
        beside: folder to unpack in, on a disk with room.

    Raises:
        DatasetError: the archive is damaged or encrypted; or it has names that leave the folder, links, or far more
            bytes than an honest one. It is checked before a file is written.
    """
    with temporary_folder(archive.stem, beside) as folder:
        try:
            _unpack(archive, folder)
            yield folder
        except DatasetError as error:
            raise DatasetError(str(error).replace(str(folder), str(archive))) from error


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            entries = {_checked_name(entry, archive): entry for entry in file.infolist() if not entry.is_dir()}
            if len(entries) < sum(not entry.is_dir() for entry in file.infolist()):
                raise DatasetError(f"{archive}: has two files of one name. Pack it again.")
            _check_room(archive, sum(entry.file_size for entry in entries.values()), shutil.disk_usage(folder).free)
            for name, entry in entries.items():
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                # Never more bytes than the entry's size are read, whatever its content says.
                with file.open(entry) as packed, open(place, "xb") as target:
                    shutil.copyfileobj(packed, target)
    except _DAMAGED as error:
        raise DatasetError(f"{archive}: cannot be unpacked ({error}). Download or pack it again.") from error


def _checked_name(entry: zipfile.ZipInfo, archive: Path) -> str:
    name = check_file_name(entry.filename, f"{archive}: an entry")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DatasetError(f"{archive}: {name} is {'a link' if kind == stat.S_IFLNK else 'no file'}. Pack files only.")
    if entry.flag_bits & _ENCRYPTED:
        raise DatasetError(f"{archive}: {name} is encrypted. Pack it without a password, or unpack it yourself.")
    return name.replace("\\", "/")


def _check_room(archive: Path, size: int, free: int) -> None:
    packed = archive.stat().st_size
    if size > max(_SMALL, _MOST_GROWTH * packed):
        raise DatasetError(
            f"{archive}: {packed} bytes would become {size}, as in archives made to fill disks. If you trust it, "
            "unpack it yourself and give the folder."
        )
    if size > free:
        raise DatasetError(f"{archive}: its files have {size} bytes, but there is room for {free}. Make room.")
