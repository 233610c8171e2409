from __future__ import annotations

import torch

from panoptic_blend.modeling.network.locations import Sites
from panoptic_blend.modeling.postprocess.decoding import Detections
from panoptic_blend.modeling.postprocess.instances import place_in_output


def test_boxes_are_scaled_by_axis_cut_to_the_output_and_dropped_without_area() -> None:
    boxes = torch.tensor(
        [[10.0, 20.0, 30.0, 40.0], [-5.0, -1.0, 30.0, 90.0], [50.0, 2.0, 60.0, 9.0], [1.0, -9.0, 9.0, -2.0]]
    )
    scores, labels, nowhere = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.arange(4), torch.zeros(4, dtype=torch.int64)
    detections = Detections(boxes, scores, labels, Sites(nowhere, nowhere, nowhere, nowhere))
    logits = torch.arange(4.0)[:, None, None].expand(4, 3, 3)
    instances = place_in_output(detections, logits, image_size=(80, 50), size=(40, 150))
    assert instances.boxes.tolist() == [[30.0, 10.0, 90.0, 20.0], [0.0, 0.0, 90.0, 40.0]]
    assert instances.scores.tolist() == scores[:2].tolist()
    assert instances.labels.tolist() == [0, 1]
    assert instances.size == (40, 150)
    torch.testing.assert_close(instances.mask_patches, logits[:2].sigmoid())
