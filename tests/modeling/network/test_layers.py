from __future__ import annotations

import pytest
import torch
from torch import nn

from panoptic_blend.modeling.network.layers import group_norm


def test_a_group_of_a_single_value_has_its_shift() -> None:
    norm = group_norm(32)
    nn.init.normal_(norm.bias)
    with torch.no_grad():
        found = norm(torch.randn(1, 32, 1, 1))[0, :, 0, 0]
    torch.testing.assert_close(found, norm.bias.detach(), atol=1e-3, rtol=0)  # rounding over the root of epsilon


@pytest.mark.parametrize("channels", [8, 24, 64, 256])
def test_of_others_it_is_torch_s(channels: int) -> None:
    norm, theirs = group_norm(channels), nn.GroupNorm(min(channels & -channels, 32), channels)
    x = torch.randn(2, channels, 3, 5)
    assert torch.equal(norm(x), theirs(x))
    assert isinstance(norm, nn.GroupNorm)
