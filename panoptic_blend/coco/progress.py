"""Which predictions a folder holds and what they were made with, so that an interrupted run can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from panoptic_blend.coco.json_rows import ImageId
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.journal import Journal
from panoptic_blend.files.names import check_file_name, comparison_key, remove_named

JOURNAL = "progress.jsonl"
FORMAT = 1
"""Version of the journal."""
START_OVER = "Choose another folder, or start over with --overwrite."


@dataclass(frozen=True)
class Kept:
    """A prediction on disk.

    Attributes:
        file_name: of the image.
        png: of its id map, relative to the folder of id maps.
        image_file: what tells versions of the image's file apart.
        position: of its row in the journal.
    """

    file_name: str
    png: str
    image_file: list[int] | None
    position: int


class KeptImages(Mapping[ImageId, Kept]):
    """What a journal holds, by image id: of each image only the place of its row is in memory.

    Five million images take half a gigabyte; as objects they would take three.
    """

    def __init__(self, journal: Journal, positions: dict[ImageId, int]):
        self._journal = journal
        self._positions = positions

    def __getitem__(self, image_id: ImageId) -> Kept:
        position = self._positions[image_id]
        row = self._journal.read(position)
        return Kept(row["image"]["file_name"], row["annotation"]["file_name"], row["image_file"], position)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._positions

    def __iter__(self) -> Iterator[ImageId]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def positions(self) -> Iterable[int]:
        """Of the rows."""
        return self._positions.values()

    def at_this_moment(self) -> KeptImages:
        """The same images, to which none are added later."""
        return KeptImages(self._journal, self._positions.copy())


class Progress:
    """The journal of a folder of predictions: what they were made with, then a row an image.

    Args:
        output: the folder; the journal is `output/progress.jsonl`.
        id_maps: the folder of its id maps.
        made_with: what predictions depend on, as JSON can hold it.
        overwrite: take an earlier result away, whatever it was made with.
        forget: takes away what belongs to an id map of an earlier result, which is itself removed.

    Attributes:
        kept: by image id; first those of an earlier run, in the order in which they were made.

    Raises:
        DatasetError: the folder holds predictions that were made with something else, or nobody knows with what.
    """

    def __init__(
        self,
        output: Path,
        id_maps: Path,
        made_with: Mapping[str, object],
        overwrite: bool,
        forget: Callable[[str], None] = lambda png: None,
    ):
        result, path = id_maps.with_suffix(".json"), output / JOURNAL
        if not overwrite and result.exists() and not path.exists():
            raise DatasetError(f"{output}: holds predictions, but not what they were made with. {START_OVER}")
        output.mkdir(parents=True, exist_ok=True)
        self._id_maps = id_maps
        self._positions: dict[ImageId, int] = {}
        self._names: set[int] = set()  # hashes: two of five million are the same in one run of a million
        self._header: Any = None
        self._journal = Journal(path, partial(self._take_up, path, overwrite))
        try:
            self._begin(json.loads(json.dumps(made_with)), overwrite, forget)
        except BaseException:
            self._journal.close()
            raise

    @property
    def kept(self) -> KeptImages:
        return KeptImages(self._journal, self._positions)

    def has_name(self, png: str) -> bool:
        """Whether an id map that is kept has this name, or one that means the same file on some file system."""
        return hash(comparison_key(png)) in self._names

    def add(
        self,
        image: dict[str, Any],
        annotation: dict[str, Any],
        image_file: list[int] | None,
        extra: object,
        write: Callable[[], None],
    ) -> Kept:
        """Note an image and write its id map.

        In this order: of a process that is killed between the two, a row remains whose id map is not there, and which
        does not count; not an id map that nobody knows, and that would be mixed with those of other images later.

        Args:
            image, annotation: its rows of the predictions' JSON.
            extra: more to keep, as JSON can hold it.
            write: writes the id map, whole or not at all.
        """
        row = {"image": image, "annotation": annotation, "image_file": image_file, "extra": extra}
        kept = Kept(image["file_name"], annotation["file_name"], image_file, self._journal.append(row))
        write()
        self._keep(image["id"], kept.png, kept.position)
        return kept

    def arrange(self, image_ids: Iterable[ImageId]) -> None:
        """Let `kept` have the order of these images."""
        before = self._positions
        self._positions = {i: before[i] for i in image_ids if i in before}
        self._positions |= before

    def read(self, kept: Kept) -> dict[str, Any]:
        """What `add` was given, by the names of its arguments."""
        return self._journal.read(kept.position)

    def rows(self) -> Iterator[dict[str, Any]]:
        """What `add` was given, of every image in the order of `kept`."""
        return map(self._journal.read, self._positions.values())

    def close(self) -> None:
        """Nothing can be added any more."""
        self._journal.close()

    def _take_up(self, path: Path, overwrite: bool, position: int, row: Any) -> None:
        """A row of an earlier run."""
        if position == 0:
            self._header = row
            if not self._is_ours() and not overwrite:
                raise DatasetError(f"{path}: is not a journal of this version's. {START_OVER}")
        elif self._is_ours():
            png = check_file_name(row["annotation"]["file_name"], str(path))
            # An id map that somebody removed is made again, and so is one that was not written before a process or the
            # power ended.
            if not overwrite and _holds_something(os.path.join(self._id_maps, png)):
                self._keep(row["image"]["id"], png, position)

    def _is_ours(self) -> bool:
        return isinstance(self._header, dict) and self._header.get("format") == FORMAT

    def _begin(self, made_with: object, overwrite: bool, forget: Callable[[str], None]) -> None:
        if overwrite or not self._positions:
            if self._is_ours():
                self._remove_id_maps(forget)
            self._id_maps.with_suffix(".json").unlink(missing_ok=True)
            self._journal.clear()
            self._journal.append({"format": FORMAT, "made_with": made_with})
        elif self._header["made_with"] != made_with:
            differing = ", ".join(differences(self._header["made_with"], made_with))
            raise DatasetError(f"{self._id_maps.parent}: holds predictions made with {differing}. {START_OVER}")

    def _remove_id_maps(self, forget: Callable[[str], None]) -> None:
        rows = iter(self._journal)
        next(rows)  # the header
        for _, row in rows:
            png = check_file_name(row["annotation"]["file_name"], str(self._journal.path))
            forget(png)
            remove_named(self._id_maps / png)

    def _keep(self, image_id: ImageId, png: str, position: int) -> None:
        self._positions[image_id] = position
        self._names.add(hash(comparison_key(png)))


def differences(before: object, now: object, name: str = "") -> list[str]:
    """What two JSON values do not have in common, now and before: dotted names and, where they are short, values."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            difference
            for key in dict.fromkeys([*before, *now])
            for difference in differences(before.get(key), now.get(key), f"{name}.{key}".removeprefix("."))
        ]
    if before == now:
        return []
    if any(isinstance(value, (dict, list)) or len(str(value)) > 30 for value in (before, now)):
        return [f"other {name}"]
    return [f"{name} {json.dumps(before)} (now {json.dumps(now)})"]


def _holds_something(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except (OSError, ValueError):
        return False
