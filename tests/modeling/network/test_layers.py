from __future__ import annotations

import pytest
import torch
from torch import nn

from panoptic_blend.modeling.network.layers import FrozenBatchNorm, group_norm


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


@pytest.mark.parametrize("channels", [32, 64, 256])
@pytest.mark.parametrize("size", [(1, 1), (9, 5)])
def test_gradients_in_bf16_are_those_of_fp32_rounded(channels: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    norm = group_norm(channels)
    x = torch.randn(2, channels, *size).to(memory_format=torch.channels_last)
    slope = torch.randn(2, channels, *size).to(memory_format=torch.channels_last)
    expected_x = x.bfloat16().float().requires_grad_()
    expected = torch.autograd.grad(norm(expected_x), [expected_x, *norm.parameters()], slope.bfloat16().float())
    rounded_x = x.bfloat16().requires_grad_()
    found = norm(rounded_x)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(
        torch.autograd.grad(found, [rounded_x, *norm.parameters()], slope.bfloat16()), expected, strict=True
    ):
        torch.testing.assert_close(ours.float(), theirs, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_norms_keep_the_type_of_a_map_with_and_without_gradients(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm = FrozenBatchNorm(8)
    for name in ("weight", "bias", "running_mean"):
        getattr(norm, name).normal_()
    x = torch.randn(2, 8, 3, 5, dtype=dtype)
    trained = norm(x.clone().requires_grad_())
    assert trained.dtype == norm(x).dtype == dtype
    torch.testing.assert_close(trained, norm(x))
