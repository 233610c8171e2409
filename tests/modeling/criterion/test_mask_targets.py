from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from panoptic_blend.modeling.criterion.mask_targets import crop_mask_targets


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 30), st.integers(0, 20), st.integers(1, 30), st.integers(1, 25), st.integers(0, 9999))
def test_mask_targets_equal_pooling_the_whole_image(x: int, y: int, width: int, height: int, seed: int) -> None:
    masks = torch.rand(1, 24, 40, generator=torch.Generator().manual_seed(seed)) > 0.4
    box = torch.tensor([[x, y, min(x + width, 40), min(y + height, 24)]], dtype=torch.float32)
    covered = roi_align(masks[:, None].float(), [box], 7, sampling_ratio=0, aligned=True)[:, 0]
    decided = (covered - 0.5).abs() > 1e-5  # at exactly one half, rounding decides
    assert torch.equal(crop_mask_targets(masks, box, 7)[decided], (covered >= 0.5).float()[decided])
