"""Every mask head as graph gives what the head gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from panoptic_blend.categories import Categories
from panoptic_blend.exporting.detections import DetectedValues
from panoptic_blend.exporting.masks import MaskValues, draw_masks
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.network.locations import Sites
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskRequest
from tests.exporting.graphs import run_piece
from tests.tiny import MASK_HEADS, tiny_model_config

CATEGORIES = Categories.from_json([{"id": 7 + i, "name": f"thing {i}", "isthing": 1} for i in range(3)])
HEIGHT, WIDTH = 64, 96
LEVELS = 3


@pytest.mark.parametrize("count", [0, 9])
@pytest.mark.parametrize("name", MASK_HEADS)
def test_mask_heads_give_what_they_give_in_torch(name: str, count: int):
    torch.manual_seed(3)
    num_bases, masks = MASK_HEADS[name]
    config = tiny_model_config()
    config = replace(config, masks=masks, bases=replace(config.bases, num_bases=num_bases))
    head = build_model(config, CATEGORIES).mask_head
    assert head is not None
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    sides = [(HEIGHT // stride, WIDTH // stride) for stride in (8, 16, 32)]
    towers, pyramid = ([torch.randn(1, 16, *side) for side in sides] for _ in range(2))
    bases = torch.randn(1, max(head.num_maps, 1), HEIGHT // 4, WIDTH // 4)
    level = torch.randint(LEVELS, (count,))
    row, column = ((torch.rand(count) * torch.tensor([s[axis] for s in sides])[level]).long() for axis in (0, 1))
    start = torch.rand(count, 2) * 60 - 10  # some reach out of the image
    boxes = torch.cat([start, start + torch.rand(count, 2) * torch.tensor([WIDTH, HEIGHT]) + 0.1], dim=1)
    labels = torch.randint(3, (count,))
    image = torch.zeros(count, dtype=torch.int64)
    features = MaskFeatures(bases if head.num_maps else None, towers, pyramid)
    with torch.no_grad():
        expected = head(features, MaskRequest(Sites(image, level, row, column), boxes, image, labels)).numpy()

    def build(op: Any, *values: Any) -> list[Any]:
        given = list(values)
        found = DetectedValues(*given[:6])
        towers, pyramid, bases = given[6 : 6 + LEVELS], given[6 + LEVELS : 6 + 2 * LEVELS], given[-1]
        return [draw_masks(op, head, MaskValues(bases, towers, pyramid), found)]

    scores = torch.rand(count)
    (drawn,) = run_piece(build, boxes, scores, labels, level, row, column, *towers, *pyramid, bases)
    assert drawn.shape == expected.shape
    np.testing.assert_allclose(drawn, expected, atol=2e-4)
