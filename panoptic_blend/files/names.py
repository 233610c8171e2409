"""File names out of a JSON: any text, but never a way out of the folder they belong to."""

from __future__ import annotations

import errno
import re
import unicodedata
from pathlib import Path, PurePosixPath

from panoptic_blend.errors import DatasetError

ABOUT_A_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL)
"""Errors of the operating system about a file's name alone."""
_DRIVE = re.compile(r"[A-Za-z]:")


def check_file_name(name: object, where: str) -> str:
    """The name unchanged, if it is a relative path that stays in its folder on every operating system.

    Folders, spaces and any Unicode are fine.

    Args:
        name: the decoded JSON value.
        where: what error messages start with: the file and the row.

    Raises:
        DatasetError: not text, empty, absolute, with a drive letter, with a `..` part, or not storable as a file name.
    """
    if not isinstance(name, str) or not name:
        raise DatasetError(f"{where}: 'file_name' must be a non-empty text, found {name!r}.")
    parts = re.split(r"[/\\]", name)
    if parts[0] == "" or ".." in parts or _DRIVE.match(name):
        raise DatasetError(
            f"{where}: file_name {name!r} leaves its folder. Use a path relative to it, without '..' or a drive."
        )
    if parts[-1] in ("", ".") or "\0" in name or not is_unicode(name):
        raise DatasetError(f"{where}: file_name {name!r} is not the name of a file. Write a relative path to one.")
    return name


def check_category_name(name: str) -> None:
    """Raise `DatasetError` for a name with half of a character, which JSON can spell but no file can hold."""
    if not is_unicode(name):
        raise DatasetError(f"the category {name!r} has half of a character. Write its name again.")


def remove_named(path: Path) -> None:
    """Remove a file, if it is there; one whose name cannot be had is not."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        if error.errno not in ABOUT_A_NAME:
            raise


def segments_name(file_name: str) -> str:
    """Name of the id-map PNG that goes with an image: its extension becomes `.png`."""
    return str(PurePosixPath(file_name).with_suffix(".png"))


def comparison_key(file_name: str) -> str:
    """Equal for names that mean one file on some common file system (letter case, composed accents)."""
    return unicodedata.normalize("NFC", str(PurePosixPath(file_name.replace("\\", "/")))).casefold()


def is_unicode(text: str) -> bool:
    """False for lone surrogates, which JSON can spell but no file name can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
