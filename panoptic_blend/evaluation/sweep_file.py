"""`sweep.json`: panoptic quality over the thresholds of the merge, written by `evaluate --sweep`."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.merge_sweep import SweepResult
from panoptic_blend.evaluation.merging import Thresholds
from panoptic_blend.evaluation.numbers import group_numbers
from panoptic_blend.files.atomic import atomic_path

SWEEP = "sweep.json"
_REMEDY = "Write it again with `panoptic-blend evaluate --sweep`."


@dataclass(frozen=True)
class SweptPQ:
    """What `sweep.json` says.

    Attributes:
        images: how many were counted.
        own: the thresholds that the predictions beside it were made with.
        best: those of the highest PQ.
        pq: {thresholds: PQ in percent}, of every combination of their values.
    """

    images: int
    own: Thresholds
    best: Thresholds
    pq: dict[Thresholds, float]

    @property
    def axes(self) -> dict[str, list[float]]:
        """{threshold: its values, ascending}."""
        return {each.name: sorted({getattr(point, each.name) for point in self.pq}) for each in fields(Thresholds)}

    def along(self, point: Thresholds, name: str) -> list[float]:
        """PQ at each value of one threshold, with the others as at a point."""
        line = [each for each in self.pq if asdict(each) | {name: None} == asdict(point) | {name: None}]
        return [self.pq[each] for each in sorted(line, key=lambda each: getattr(each, name))]


def write_sweep(path: Path, result: SweepResult, own: Thresholds, images: int) -> None:
    """Write a sweep; the file appears whole or not at all.

    Args:
        own: the thresholds that the predictions beside it were made with.
        images: how many were counted.
    """
    head = {"images": images, "own": asdict(own), "best": asdict(result.best(own))}
    rows = [
        json.dumps(asdict(point) | group_numbers(quality))
        for point, quality in zip(result.grid.points, result.quality, strict=True)
    ]
    with atomic_path(path) as unfinished:
        text = json.dumps(head)[:-1] + ', "points": [\n' + ",\n".join(rows) + "\n]}\n"
        unfinished.write_text(text, encoding="utf-8")


def read_sweep(path: Path) -> SweptPQ:
    """Read what `write_sweep` wrote.

    Raises:
        DatasetError: it cannot be read, or is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pq = {_thresholds(row): float(row["PQ"]) for row in content["points"]}
        swept = SweptPQ(int(content["images"]), _thresholds(content["own"]), _thresholds(content["best"]), pq)
        axes = zip(*(astuple(point) for point in pq), strict=True)
        every = {Thresholds(*values) for values in itertools.product(*(set(axis) for axis in axes))}
        if pq.keys() != every or not {swept.own, swept.best} <= every:
            raise ValueError("its points are no grid")
        return swept
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DatasetError(f"{path}: is no complete sweep ({type(error).__name__}: {error}). {_REMEDY}") from error


def _thresholds(row: Any) -> Thresholds:
    return Thresholds(float(row["min_score"]), float(row["max_overlap"]), int(row["min_stuff_area"]))
