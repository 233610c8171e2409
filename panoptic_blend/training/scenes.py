"""A few validation scenes, the same at every validation, drawn as predicted and as annotated."""

from __future__ import annotations

import numpy as np
from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.coco.images import EvaluationSample
from panoptic_blend.files.images import to_colors
from panoptic_blend.inference.evaluate import true_segments
from panoptic_blend.inference.visualize import draw_overlay, side_by_side
from panoptic_blend.structures import IdMap, PanopticPrediction

SCENES = 4
LONGEST_EDGE = 640
"""Pixels that a scene is reduced to before it is drawn: enough to see by, and soon done."""


def choose_scenes(count: int) -> tuple[int, ...]:
    """Positions of `SCENES` of `count` images, evenly apart; all of them when there are fewer."""
    chosen = min(SCENES, count)
    return tuple((2 * index + 1) * count // (2 * chosen) for index in range(chosen))


def draw_scene(sample: EvaluationSample, prediction: PanopticPrediction, categories: Categories) -> Image.Image:
    """Prediction and truth side by side over their image, titled with its name."""
    record, truth = sample.record, sample.id_map
    assert truth is not None
    image = Image.fromarray(to_colors(sample.image))
    image.thumbnail((LONGEST_EDGE, LONGEST_EDGE), Image.Resampling.BILINEAR)

    def draw(id_map: IdMap, *, truth: bool) -> Image.Image:
        small = np.asarray(Image.fromarray(id_map).resize(image.size, Image.Resampling.NEAREST))
        segments = true_segments(record, categories) if truth else prediction.segments
        return draw_overlay(np.asarray(image), small, segments, categories, scores=not truth)

    return side_by_side(
        [(f"{record.file_name}: prediction", draw(prediction.id_map, truth=False)), ("truth", draw(truth, truth=True))]
    )
