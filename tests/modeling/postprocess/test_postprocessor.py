from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.config import FCOSConfig, MergeConfig, ModelConfig, PredictionSettings
from panoptic_blend.modeling.network import NetworkOutput
from panoptic_blend.modeling.network.fcos_head import HeadOutput
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest
from panoptic_blend.modeling.postprocess import PostProcessor

CATEGORIES = Categories.from_json([{"id": 3, "name": "cell", "isthing": 1}, {"id": 5, "name": "nucleus", "isthing": 1}])
ROWS, COLUMNS = 20, 15
STRIDE = 8


class WholeBoxes(MaskHead):
    """Everything inside a box is the object."""

    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        return torch.full((len(request.sites), self.resolution, self.resolution), 5.0)


@pytest.mark.parametrize("max_detections", [100, 300])
def test_every_instance_that_is_allowed_is_found_and_painted(max_detections: int) -> None:
    """One object a cell, all of them apart from each other; scores fall from cell to cell."""
    count = ROWS * COLUMNS
    logits = torch.full((1, 2, ROWS, COLUMNS), -9.0)
    cells = torch.arange(count)
    labels = cells % 2
    logits[0, labels, cells // COLUMNS, cells % COLUMNS] = torch.linspace(6, 2, count)
    flat = torch.zeros((1, 1, ROWS, COLUMNS))
    detector = HeadOutput([logits], [torch.full((1, 4, ROWS, COLUMNS), 0.375)], [flat + 9], [flat])
    config = ModelConfig(fcos=replace(FCOSConfig(), max_detections=max_detections), merge=MergeConfig(min_score=0.1))
    process = PostProcessor(WholeBoxes(0, 7), [STRIDE], CATEGORIES, PredictionSettings.of(config))
    size = (ROWS * STRIDE, COLUMNS * STRIDE)
    (prediction,) = process(NetworkOutput(detector, [flat], None, None, None), [size])

    expected = torch.zeros(size, dtype=torch.int32)
    for cell in range(max_detections):
        y, x = cell // COLUMNS * STRIDE, cell % COLUMNS * STRIDE
        expected[y + 1 : y + 7, x + 1 : x + 7] = cell + 1
    assert torch.equal(torch.from_numpy(prediction.id_map), expected)
    assert [segment.id for segment in prediction.segments] == list(range(1, max_detections + 1))
    ids = [category.id for category in CATEGORIES.things]
    assert [segment.category_id for segment in prediction.segments] == [ids[i] for i in labels[:max_detections]]
    assert prediction.instances.masks.sum() == 36 * max_detections
