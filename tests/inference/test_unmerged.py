from __future__ import annotations

import numpy as np
import torch
from pycocotools import mask as coco_mask

from panoptic_blend.inference.unmerged import encode_masks
from panoptic_blend.structures import Instances


def test_encoded_masks_are_the_pasted_masks():
    torch.manual_seed(0)
    boxes = torch.tensor([[3.2, 4.1, 20.7, 30.0], [0.0, 0.0, 50.0, 40.0], [48.5, 2.0, 50.0, 3.0]])
    instances = Instances(boxes, torch.rand(3), torch.zeros(3, dtype=torch.int64), torch.rand(3, 14, 14), (40, 50))
    decoded = [coco_mask.decode(rle) for rle in encode_masks(instances)]
    assert np.array_equal(np.stack(decoded), instances.masks.numpy())
