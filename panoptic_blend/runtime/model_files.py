"""The files of an exported folder: that they lie inside of it, and are still what was exported."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.errors import CheckpointError, DatasetError
from panoptic_blend.files.names import check_file_name

EXPORT_AGAIN = "Export the model again with `panoptic-blend export`."
"""The remedy for an exported folder that cannot be."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AT_ONCE = 2**20


@dataclass(frozen=True)
class ModelFile:
    """A file of an exported folder as it was written.

    Attributes:
        name: relative to the folder.
        size: bytes.
        sha256: of its content, in hexadecimal digits.
    """

    name: str
    size: int
    sha256: str


def describe_files(folder: Path, names: Mapping[str, str]) -> dict[str, ModelFile]:
    """Files that were just written, each under the key that it is named by."""
    return {key: ModelFile(name, (folder / name).stat().st_size, _sha256(folder / name)) for key, name in names.items()}


def read_file_entry(folder: Path, entry: object, where: str) -> ModelFile:
    """A file as `model.json` describes it; only that it is there is checked.

    Args:
        folder: the exported one.
        entry: the decoded JSON value.
        where: what error messages start with: the JSON file and the field.

    Raises:
        CheckpointError: a value that cannot be; a name of no file in this folder or below, or a link out of it.
    """
    if not isinstance(entry, dict) or entry.keys() != {"name", "size", "sha256"}:
        raise CheckpointError(f"{where}: must hold name, size and sha256, found {entry!r:.200}. {EXPORT_AGAIN}")
    size, sha256 = entry["size"], entry["sha256"]
    if type(size) is not int or size < 0:
        raise CheckpointError(f"{where}: 'size' must be a number of bytes, found {size!r:.200}. {EXPORT_AGAIN}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise CheckpointError(
            f"{where}: 'sha256' must be 64 digits of 0-9 and a-f, found {sha256!r:.200}. {EXPORT_AGAIN}"
        )
    _check_inside(folder, entry["name"], where)
    return ModelFile(entry["name"], size, sha256)


def check_content(folder: Path, file: ModelFile) -> None:
    """Raise `CheckpointError` unless a file holds what was exported, to the last byte."""
    path = folder / file.name
    try:
        size = path.stat().st_size
        if size != file.size:
            raise CheckpointError(
                f"{path}: has {size} bytes, but {file.size} were exported. Copy the whole folder again, or export the "
                "model again with `panoptic-blend export`."
            )
        found = _sha256(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Copy the whole folder again.") from error
    if found != file.sha256:
        raise CheckpointError(
            f"{path}: is not what was exported: its SHA-256 is {found[:12]}..., expected {file.sha256[:12]}... It is "
            "damaged, or of another export. Copy the whole folder again, or export the model again with "
            "`panoptic-blend export`."
        )


def _check_inside(folder: Path, name: object, where: str) -> None:
    try:
        path = folder / check_file_name(name, where)
    except DatasetError as error:
        raise CheckpointError(f"{where}: {name!r} is not the name of a file in its folder. {EXPORT_AGAIN}") from error
    try:
        place = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # the second: links in a circle, before Python 3.13
        raise CheckpointError(f"{path}: no such file, but {where} names it. Copy the whole folder again.") from error
    if not place.is_relative_to(folder.resolve()):
        raise CheckpointError(f"{where}: {name!r} is a link out of its folder. Put the file itself there.")
    if not place.is_file():
        raise CheckpointError(f"{path}: is no file, but {where} names it. Copy the whole folder again.")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()  # `hashlib.file_digest` came with Python 3.11
    with open(path, "rb") as file:
        while part := file.read(_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()
