"""Write predictions in COCO panoptic format: one JSON beside a folder of id-map PNGs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.counting import measure_segments
from panoptic_blend.coco.progress import Kept, Progress
from panoptic_blend.coco.segments_png import check_ids, read_id_map, write_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.names import check_file_name, segments_name
from panoptic_blend.structures import IdMap, Segment

FOLDER = "predictions"


def json_of(predictions: Path) -> Path:
    """The JSON of predictions, which may be named by the folder that they were written to."""
    return predictions / f"{FOLDER}.json" if predictions.is_dir() else predictions


class PredictionWriter:
    """Writes predictions image by image: `output/predictions/*.png`, and `output/predictions.json` of them all.

    Every image is kept as it comes: its PNG, and a row of `output/progress.jsonl`. The JSON is written when the `with`
    block ends, after an error or Ctrl-C as well, and lists the images that were predicted by then. A later writer that
    is `made_with` the same goes on from there.

    A PNG is named after its image (`a/b.jpg` -> `a/b.png`); when that name is taken already (`a.jpg` and `a.png`), it
    keeps the whole name (`a.png.png`). The JSON says which is whose.

        with PredictionWriter(Path("out"), categories) as writer:
            writer.write(record, prediction.id_map, prediction.segments)

    Args:
        output: the folder.
        categories: of the segments.
        made_with: what predictions depend on, as JSON can hold it: an earlier result that was made with the same is
            gone on with. None replaces an earlier result.
        overwrite: replace an earlier result whatever it was made with.
        forget: takes away what belongs to a PNG, named relative to its folder, of an earlier result that is replaced.
    """

    def __init__(
        self,
        output: Path,
        categories: Categories,
        made_with: Mapping[str, object] | None = None,
        overwrite: bool = False,
        forget: Callable[[str], None] = lambda png: None,
    ):
        self.output = output
        self.categories = categories
        self.made_with = {"categories": categories.to_json(), **(made_with or {})}
        self.overwrite = overwrite or made_with is None
        self.forget = forget
        self._progress: Progress | None = None

    def __enter__(self) -> PredictionWriter:
        """Open the folder.

        Raises:
            DatasetError: it holds predictions that were made with something else, or nobody knows with what.
        """
        self._progress = Progress(self.output, self.output / FOLDER, self.made_with, self.overwrite, self.forget)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None or self.progress.kept:
                self._write_json()
        finally:
            self.progress.close()

    @property
    def progress(self) -> Progress:
        """What is kept; there is none before the `with` block."""
        assert self._progress is not None, "use PredictionWriter in a with block"
        return self._progress

    def write(
        self,
        record: ImageRecord,
        id_map: IdMap,
        segments: list[Segment],
        image_file: list[int] | None = None,
        extra: object = None,
    ) -> Kept:
        """Add one image.

        Args:
            record: names the image; its size must be the id map's. Its own segments are not read.
            id_map: [H, W], 0 = void.
            segments: one for every other id in the map.
            image_file: tells versions of the image's file apart.
            extra: more to keep for a later run, as JSON can hold it.

        Raises:
            DatasetError: an unsafe file name, an image written twice, a wrong size, ids that do not match the map or
                that a PNG cannot hold, or an unknown category.
        """
        where = f"{self.output}: image {record.image_id}"
        if record.image_id in self.progress.kept:
            raise DatasetError(f"{where} ({record.file_name}) is predicted twice. Give every image its own id.")
        if id_map.shape != (record.height, record.width):
            raise DatasetError(
                f"{where} is {record.width} x {record.height}, but its id map is {id_map.shape[1]} x "
                f"{id_map.shape[0]}. Predict at the size of the image."
            )
        rows = self._segments_info(id_map, segments, where)
        name = self._free_name(record.file_name, where)
        image = {"id": record.image_id, "file_name": record.file_name, "width": record.width, "height": record.height}
        frame = {"video_id": record.video_id, "frame_id": record.frame_id}
        image |= {name: value for name, value in frame.items() if value is not None}
        annotation = {"image_id": record.image_id, "file_name": name, "segments_info": rows}
        path = self.output / FOLDER / name
        return self.progress.add(image, annotation, image_file, extra, lambda: write_id_map(path, id_map))

    def take(
        self, row: dict[str, Any], png: Path, bring: Callable[[str, str], None] = lambda there, here: None
    ) -> None:
        """Take over an image from another folder, in which a writer that is `made_with` the same keeps it.

        Args:
            row: what the other writer's `progress` reads of it.
            png: of its id map, which is moved here; it stays when the image is kept here already.
            bring: moves what belongs to the PNG, given the PNG's name there and its name here.

        Raises:
            DatasetError: an unsafe file name, or one that another image has.
        """
        image, there = row["image"], row["annotation"]["file_name"]
        kept = self.progress.kept.get(image["id"])
        if kept is not None:
            bring(there, kept.png)
            return
        here = self._free_name(image["file_name"], f"{self.output}: image {image['id']}")
        target = self.output / FOLDER / here

        def move() -> None:
            bring(there, here)
            try:
                os.replace(png, target)
            except FileNotFoundError:  # rather than looking each time
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(png, target)

        self.progress.add(image, {**row["annotation"], "file_name": here}, row["image_file"], row["extra"], move)

    def read(self, kept: Kept) -> tuple[IdMap, list[Segment]]:
        """The id map and the segments of an image that was kept.

        Raises:
            DatasetError: the PNG cannot be read.
        """
        segments = [
            Segment(
                id=row["id"],
                category_id=row["category_id"],
                is_thing=self.categories.by_id(row["category_id"]).is_thing,
                score=row["score"],
                area=row["area"],
            )
            for row in self.progress.read(kept)["annotation"]["segments_info"]
        ]
        return read_id_map(self.output / FOLDER / kept.png), segments

    def _segments_info(self, id_map: IdMap, segments: list[Segment], where: str) -> list[dict[str, object]]:
        ids, areas, boxes = measure_segments(id_map)
        check_ids(ids, where)  # before anything is noted of the image
        listed = [int(segment.id) for segment in segments]
        painted = {int(i) for i in ids if i != 0}
        if len(set(listed)) < len(listed) or set(listed) != painted:
            raise DatasetError(
                f"{where}: the segments {sorted(listed)} are not the ids in the map {sorted(painted)}. List every id "
                "but 0 (void) once."
            )
        position = {int(i): p for p, i in enumerate(ids)}
        rows: list[dict[str, object]] = []
        for segment in segments:
            if not self.categories.has_id(segment.category_id):
                raise DatasetError(
                    f"{where}: segment {segment.id} has category_id {segment.category_id}, which the categories given "
                    "do not list. Write with the model's categories."
                )
            rows.append(
                {
                    "id": int(segment.id),
                    "category_id": int(segment.category_id),
                    "area": int(areas[position[int(segment.id)]]),
                    "bbox": boxes[position[int(segment.id)]].tolist(),
                    "iscrowd": 0,
                    "score": round(float(segment.score), 6),
                }
            )
        return rows

    def _free_name(self, file_name: str, where: str) -> str:
        check_file_name(file_name, where)
        for name in (segments_name(file_name), f"{file_name}.png"):
            if not self.progress.has_name(name):
                return name
        raise DatasetError(f"{where}: another image is named {file_name!r} too. Give every image its own file name.")

    def _write_json(self) -> None:
        (self.output / FOLDER).mkdir(exist_ok=True)
        with (
            atomic_path(self.output / f"{FOLDER}.json") as temporary,
            open(temporary, "w", encoding="utf-8") as file,
        ):
            self._write_rows(file, '{"images": [', "image")
            self._write_rows(file, '],\n"annotations": [', "annotation")
            file.write('],\n"categories": ' + json.dumps(self.categories.to_json()) + "}\n")

    def _write_rows(self, file: TextIO, title: str, kind: str) -> None:
        """Row by row: all of them would not fit into memory."""
        file.write(title)
        for number, row in enumerate(self.progress.rows()):
            file.write((",\n" if number else "") + json.dumps(row[kind]))
