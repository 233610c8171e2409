"""Which predictions a folder holds and what they were made with, so that an interrupted run can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic_blend.errors import DatasetError
from panoptic_blend.files.journal import Journal
from panoptic_blend.files.names import check_file_name

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
        self.kept: dict[int | str, Kept] = {}
        self._journal = Journal(path)
        try:
            self._take_up(id_maps, json.loads(json.dumps(made_with)), overwrite, forget)
        except BaseException:
            self._journal.close()
            raise

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
        self.kept[image["id"]] = kept
        return kept

    def arrange(self, image_ids: Iterable[int | str]) -> None:
        """Let `kept` have the order of these images."""
        self.kept = {i: self.kept[i] for i in image_ids if i in self.kept} | self.kept

    def read(self, kept: Kept) -> dict[str, Any]:
        """What `add` was given, by the names of its arguments."""
        return self._journal.read(kept.position)

    def close(self) -> None:
        """Nothing can be added any more."""
        self._journal.close()

    def _take_up(self, id_maps: Path, made_with: object, overwrite: bool, forget: Callable[[str], None]) -> None:
        output = id_maps.parent
        rows = iter(self._journal)
        header: Any = next(rows, (0, None))[1]
        ours = isinstance(header, dict) and header.get("format") == FORMAT
        if ours:
            for position, row in rows:
                png = check_file_name(row["annotation"]["file_name"], str(self._journal.path))
                self.kept[row["image"]["id"]] = Kept(row["image"]["file_name"], png, row["image_file"], position)
        elif header is not None and not overwrite:
            raise DatasetError(f"{self._journal.path}: is not a journal of this version's. {START_OVER}")
        earlier = [kept.png for kept in self.kept.values()]
        # An id map that somebody removed is made again, and so is one that was not written before the process ended.
        self.kept = {image_id: kept for image_id, kept in self.kept.items() if (id_maps / kept.png).is_file()}
        if overwrite or not self.kept:
            self.kept = {}
            for png in earlier:  # before the journal, which knows them
                forget(png)
                (id_maps / png).unlink(missing_ok=True)
            id_maps.with_suffix(".json").unlink(missing_ok=True)
            self._journal.clear()
            self._journal.append({"format": FORMAT, "made_with": made_with})
        elif header["made_with"] != made_with:
            differing = ", ".join(_differences(header["made_with"], made_with))
            raise DatasetError(f"{output}: holds predictions made with {differing}. {START_OVER}")


def _differences(before: object, now: object, name: str = "") -> list[str]:
    """What two JSON values do not have in common: dotted names and, where they are short, values."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            difference
            for key in dict.fromkeys([*before, *now])
            for difference in _differences(before.get(key), now.get(key), f"{name}.{key}".removeprefix("."))
        ]
    if before == now:
        return []
    if any(isinstance(value, (dict, list)) or len(str(value)) > 30 for value in (before, now)):
        return [f"other {name}"]
    return [f"{name} {json.dumps(before)} (now {json.dumps(now)})"]
