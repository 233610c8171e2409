"""Keeps what was read of a large JSON beside it, so that it is read and checked once, not at every start.

`.panoptic_train2017.json.index` holds the columns of the index. It counts while the JSON has the size and the times it
had when it was read; else the JSON is read again. It may be deleted at any time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend._version import __version__
from panoptic_blend.categories import Categories
from panoptic_blend.coco.table import Index
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.columns import read_columns, write_columns
from panoptic_blend.files.lock import first_come
from panoptic_blend.files.stamps import Stamp, stamp

WORTH_KEEPING = 4 * 2**20
"""Bytes of JSON that take about as long to read as one would notice."""

_RULES = 2
"""Goes up whenever rows are checked or kept in another way, so that older caches are not taken."""


@dataclass(frozen=True)
class KeptIndex:
    """What is kept of a JSON.

    Attributes:
        index: mapped into memory.
        has_segments: whether the JSON has annotations.
        kept_for: the JSON's stamp.
    """

    index: Index
    categories: Categories | None
    has_segments: bool
    kept_for: Stamp


def read_index(path: Path) -> KeptIndex | None:
    """What is kept of a JSON; None when the JSON must be read."""
    try:
        now = stamp(path)
    except OSError:
        return None
    kept = read_columns(_place(path))
    if kept is None:
        return None
    columns, about = kept
    try:
        if about["made_by"] != _made_by() or about["json"] != list(now):
            return None
        rows = about["categories"]
        categories = None if rows is None else Categories.from_json(rows)
        return KeptIndex(Index.from_columns(columns), categories, bool(about["has_segments"]), now)
    except (KeyError, TypeError, DatasetError):
        return None


def stamp_to_keep(path: Path) -> Stamp | None:
    """The stamp of a JSON that is to be read now; None when what is read is not to be kept."""
    try:
        found = stamp(path)
    except OSError:
        return None
    return found if found.size >= WORTH_KEEPING and found.is_settled else None


def keep_index(path: Path, before: Stamp, index: Index, categories: Categories | None, has_segments: bool) -> None:
    """Keep what was read of a JSON; without leave or space to write, nothing is kept.

    Args:
        before: what `stamp_to_keep` returned before the JSON was read.
    """
    about = {
        "made_by": _made_by(),
        "json": list(before),
        "categories": None if categories is None else categories.to_json(),
        "has_segments": has_segments,
    }
    try:
        if stamp(path) == before:
            write_columns(_place(path), index.columns(), about)
    except OSError:
        return


def first_to_read(path: Path) -> AbstractContextManager[bool]:
    """Of processes that are to read a JSON at once, one is told True at once, the others False when it is done."""
    place = _place(path)
    return first_come(place.with_name(f"{place.name}.lock"))


def _made_by() -> list[object]:
    return [__version__, _RULES]


def _place(path: Path) -> Path:
    return path.with_name(f".{path.name}.index")
