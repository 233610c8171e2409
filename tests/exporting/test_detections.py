"""The graph selects the boxes that torch selects, in their order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from panoptic_blend.config import PredictionSettings
from panoptic_blend.exporting.detections import HeadValues, detect
from panoptic_blend.modeling.network.fcos_head import HeadOutput
from panoptic_blend.modeling.network.locations import locate
from panoptic_blend.modeling.postprocess.decoding import decode
from tests.exporting.graphs import run_piece
from tests.tiny import tiny_model_config

STRIDES = [8, 16]
SETTINGS = PredictionSettings.of(tiny_model_config())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"threshold_with_centerness": False, "score_threshold": 0.3},
        {"score_threshold": 0.0, "max_detections": 5000},  # more than 1000 boxes
        {"pre_nms_top_k": 7},
        {"nms_iou": 0.2, "max_detections": 3},
        {"score_threshold": 1.0},  # nothing is found
    ],
)
def test_the_boxes_of_torch_are_selected(changes: dict[str, Any]):
    settings = replace(SETTINGS, **changes)
    generator = torch.Generator().manual_seed(5)
    sides = [(12, 17), (6, 9)]
    head = HeadOutput(
        *(
            [torch.randn(1, channels, *side, generator=generator) * scale for side in sides]
            for channels, scale in ((5, 2.0), (4, 2.0), (1, 1.0), (3, 1.0))
        )
    )
    head = head._replace(distances=[each.relu() for each in head.distances])
    expected = decode(
        head,
        locate(head.towers, STRIDES),
        0,
        settings.score_threshold,
        settings.threshold_with_centerness,
        settings.pre_nms_top_k,
        settings.nms_iou,
        settings.max_detections,
    )

    def build(op: Any, *values: Any) -> list[Any]:
        given = iter(values)
        found = detect(op, HeadValues(*([next(given) for _ in STRIDES] for _ in range(4))), STRIDES, settings)
        return [found.boxes, found.scores, found.labels, found.level, found.row, found.column]

    boxes, scores, *places = run_piece(build, *(each for part in head for each in part))
    assert (np.diff(scores) <= 0).all()
    sites = expected.sites
    wanted_places = [each.numpy() for each in (expected.labels, sites.level, sites.row, sites.column)]
    # Scores that are equal up to rounding may change places.
    order, wanted_order = np.lexsort(places), np.lexsort(wanted_places)
    for found, wanted in zip(places, wanted_places, strict=True):
        np.testing.assert_array_equal(found[order], wanted[wanted_order])
    np.testing.assert_allclose(scores[order], expected.scores.numpy()[wanted_order], atol=1e-5)
    np.testing.assert_allclose(boxes[order], expected.boxes.numpy()[wanted_order], rtol=1e-5, atol=1e-4)
    assert bool(len(scores)) == (settings.score_threshold < 1)
