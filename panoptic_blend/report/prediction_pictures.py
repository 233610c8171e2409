"""The gallery of a report: each image beside its predictions, the truth, and what is wrong, in colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.matching import Int64s, PredictedSegment
from panoptic_blend.evaluation.per_image import ImagePQ
from panoptic_blend.evaluation.scored_files import ScoredFiles
from panoptic_blend.report.error_map import COLORS, ERRORS, SegmentErrors, find_errors, map_errors
from panoptic_blend.report.picks import Group, write_picks
from panoptic_blend.report.pictures import draw_map, draw_places, sampled, save_map, write_picture
from panoptic_blend.structures import IdMap, Segment

PICTURES = "pictures"
_EDGE, _QUALITY = 480, 60
"""Longest edge and WebP quality of the pictures: with two predictions, those of a thousand images take some 50 MB."""
NOTHING_WRONG = len(ERRORS)
"""The choice after all kinds of errors."""


@dataclass(frozen=True)
class Shown:
    """One row of the gallery.

    Attributes:
        position: of the image among those of the truth.
        scores: its panoptic quality, in the order of the predictions.
        target: where its pictures go, without what tells them apart.
    """

    position: int
    scores: Sequence[ImagePQ]
    target: Path


def draw_row(
    names: Sequence[str], predictions: Sequence[ScoredFiles], images: Path, categories: Categories, shown: Shown
) -> dict[str, object]:
    """Write the pictures of an image and return its row of `DATA.pictures`.

    Args:
        names: of the predictions; "" for one alone.
        images: folder of the images.

    Raises:
        DatasetError: files changed since they were scored.
    """
    record = predictions[0].truth[shown.position]
    pairs = [files.read(shown.position) for files in predictions]
    errors = [find_errors(pair, categories) for pair in pairs]
    picture = shown.target.with_suffix(".webp")
    has_picture = write_picture(images / record.file_name, picture, _EDGE, _QUALITY)

    def save(image: Image.Image, name: str) -> str:
        path = shown.target.with_name(f"{shown.target.name}-{name}.webp")
        save_map(image, path)
        return f"{PICTURES}/{path.name}"

    panels: list[tuple[str, str | None]] = [("picture", None)]
    for number, (name, pair) in enumerate(zip(names, pairs, strict=True)):
        drawn = _draw(pair.predicted_ids, pair.matching.predicted, pair.matching.predicted_areas, categories)
        panels.append((name or "prediction", save(drawn, f"prediction{number}")))
    matching = pairs[0].matching
    panels.append(("truth", save(_draw(pairs[0].truth_ids, matching.truth, matching.truth_areas, categories), "truth")))
    for number, (name, pair, wrong) in enumerate(zip(names, pairs, errors, strict=True)):
        panels.append((f"errors {name}".strip(), save(_draw_errors(pair, wrong), f"errors{number}")))

    picks = shown.target.with_suffix(".js")
    groups = [
        _predicted(f"{name} predicted".strip().capitalize(), pair, wrong, categories)
        for name, pair, wrong in zip(names, pairs, errors, strict=True)
    ]
    write_picks(picks, f"{PICTURES}/{picks.name}", [*groups, _true(names, pairs, errors, categories)])
    kinds = {kind for wrong in errors for kind in (*wrong.truth.tolist(), *wrong.predicted.tolist()) if kind >= 0}
    return {
        "title": record.file_name,
        "note": ", ".join(f"{n} PQ {100 * s.worth:.1f}".strip() for n, s in zip(names, shown.scores, strict=True)),
        "picture": f"{PICTURES}/{picture.name}" if has_picture else None,
        "panels": panels,
        "problems": [],
        "picks": f"{PICTURES}/{picks.name}",
        "order": _order(shown.scores),
        "chosen": [
            sorted(kinds) or [NOTHING_WRONG],
            sorted(
                {place for pair, wrong in zip(pairs, errors, strict=True) for place in _wrong(pair, wrong, categories)}
            ),
            *([1 - int(np.sign(other.worth - shown.scores[0].worth))] for other in shown.scores[1:]),
        ],
    }


def _order(scores: Sequence[ImagePQ]) -> list[float]:
    """Where a picture stands in each of the gallery's orders, which ascend."""
    gains = [other.worth - scores[0].worth for other in scores[1:]]
    return [sum(score.worth for score in scores), *(key for gain in gains for key in (-gain, gain))]


def _draw(
    id_map: IdMap,
    segments: Sequence[PredictedSegment] | Sequence[SegmentRecord],
    areas: Int64s,
    categories: Categories,
) -> Image.Image:
    rows = [
        Segment(s.id, s.category_id, categories.by_id(s.category_id).is_thing, 1.0, area)
        for s, area in zip(segments, areas.tolist(), strict=True)
    ]
    return draw_map(id_map, rows, categories, _EDGE)


def _draw_errors(pair: ImagePair, errors: SegmentErrors) -> Image.Image:
    rows, columns = sampled(pair.truth_ids.shape, _EDGE)
    palette = [(0, 0, 0, 0), *((*color, 255) for color in COLORS)]
    return draw_places(map_errors(pair, errors, rows, columns) + 1, palette)


def _wrong(pair: ImagePair, errors: SegmentErrors, categories: Categories) -> set[int]:
    """Positions of the categories that something is wrong with."""
    found = [pair.matching.predicted[i].category_id for i in np.flatnonzero(errors.predicted >= 0).tolist()]
    lost = [pair.matching.truth[i].category_id for i in np.flatnonzero(errors.truth >= 0).tolist()]
    return {categories.position(category_id) for category_id in (*found, *lost)}


def _predicted(heading: str, pair: ImagePair, errors: SegmentErrors, categories: Categories) -> Group:
    """Predicted segments: what is wrong first, then by their areas."""
    matching = pair.matching
    iou = dict(zip(matching.matched_predicted.tolist(), matching.iou.tolist(), strict=True))
    ids, lines = [], []
    for place in np.lexsort((-matching.predicted_areas, errors.predicted < 0)).tolist():
        segment, kind = matching.predicted[place], int(errors.predicted[place])
        position = categories.position(segment.category_id)
        if kind >= 0:
            outcome = ERRORS[kind]
        elif place in iou:
            outcome = f"IoU {iou[place]:.2f}"
        else:
            outcome = "not counted: in void or crowd"
        has_score = categories[position].is_thing and segment.score is not None
        score = f"score {segment.score:.2f}, " if has_score else ""
        ids.append(segment.id)
        lines.append((position, f"{score}{outcome}, {matching.predicted_areas[place]:,} pixels", kind >= 0))
    return Group(heading, pair.predicted_ids, ids, lines)


def _true(
    names: Sequence[str], pairs: Sequence[ImagePair], errors: Sequence[SegmentErrors], categories: Categories
) -> Group:
    """True segments and what became of them in each prediction: those that one of these misses first."""
    matching = pairs[0].matching
    found = [dict(zip(pair.matching.matched_truth.tolist(), pair.matching.iou.tolist(), strict=True)) for pair in pairs]
    lost = np.any([wrong.truth >= 0 for wrong in errors], axis=0)
    ids, lines = [], []
    for place in np.lexsort((-matching.truth_areas, ~lost)).tolist():
        segment = matching.truth[place]
        outcomes = []
        for name, iou, wrong in zip(names, found, errors, strict=True):
            kind = int(wrong.truth[place])
            outcome = ERRORS[kind] if kind >= 0 else f"IoU {iou[place]:.2f}" if place in iou else "not counted: crowd"
            outcomes.append(f"{name} {outcome}".strip())
        ids.append(segment.id)
        text = f"{', '.join(outcomes)}, {matching.truth_areas[place]:,} pixels"
        lines.append((categories.position(segment.category_id), text, bool(lost[place])))
    return Group("Truth", pairs[0].truth_ids, ids, lines)
