"""Which segment is where in a picture of a page, for `viewer.js` to tell when a reader points at a place."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.evaluation.matching import positions
from panoptic_blend.report.pictures import draw_places, sampled, save_map
from panoptic_blend.structures import IdMap

LONGEST_EDGE = 320
"""Pixels of a map of segments."""

Line = tuple[int, str, bool]
"""Position of a category, what is said of a segment of it, and whether it is wrong."""


@dataclass(frozen=True, eq=False)
class Group:
    """The segments of a map, in the order in which they are listed.

    Attributes:
        heading: what they are.
        id_map: int32 [H, W].
        ids: of the segments.
        lines: one for each.
    """

    heading: str
    id_map: IdMap
    ids: Sequence[int]
    lines: Sequence[Line]


def write_picks(path: Path, name: str, groups: Sequence[Group]) -> None:
    """Write a script that tells `viewer.js` the segments of a picture.

    Args:
        name: by which the page knows the script: its path from there.
    """
    content = [[group.heading, _numbers(group), group.lines] for group in groups]
    path.write_text(f"PICKS[{json.dumps(name)}] = {json.dumps(content, separators=(',', ':'))};\n", encoding="utf-8")


def _numbers(group: Group) -> str:
    """An image, as an address, whose pixels are red + 256 green = the number of their segment from 1; 0 is none."""
    rows, columns = sampled(group.id_map.shape, LONGEST_EDGE)
    ids, places = contiguous_labels(np.ascontiguousarray(group.id_map[rows][:, columns]))
    order = np.argsort(np.array(group.ids, np.int64))
    found = positions(ids, sorted(group.ids))
    numbers = np.where(found >= 0, np.append(order, 0)[found] + 1, 0)
    palette = [(number & 255, number >> 8, 0, 255) for number in numbers.tolist()]
    file = io.BytesIO()
    save_map(draw_places(places, palette), file)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
