from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from panoptic_blend.instance_map import layer_masks, rasterise


@given(arrays.arrays(np.bool_, st.tuples(st.integers(0, 6), st.integers(1, 5), st.integers(1, 5))))
def test_masks_come_back_as_they_were(drawn: np.ndarray) -> None:
    masks = torch.from_numpy(drawn)
    layers = layer_masks(masks)
    assert torch.equal(rasterise(layers, len(masks)), masks)
    assert len(layers) <= max(1, len(masks))
    if int(masks.sum(dim=0).max() if len(masks) else 0) <= 1:
        assert len(layers) == 1


def test_more_masks_than_a_byte_counts() -> None:
    masks = torch.eye(300, dtype=torch.bool).view(300, 15, 20)
    layers = layer_masks(masks)
    assert layers.shape == (1, 15, 20)
    assert torch.equal(rasterise(layers, 300), masks)
