from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from panoptic_blend.inference.picture_norms import PictureNorm, begin_pass, forget, measuring, share_norms


def make_network() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


@torch.no_grad()
def test_halves_of_a_picture_are_normalised_as_the_picture():
    torch.manual_seed(0)
    network = make_network()
    picture = torch.randn(1, 3, 20, 16) * torch.linspace(0.1, 3, 20)[:, None] + 2  # top and bottom differ
    expected = network(picture)
    halves = picture[:, :, :10], picture[:, :, 10:]
    alone = torch.cat([network(half) for half in halves], dim=2)
    assert not torch.allclose(alone, expected, atol=0.1)
    shared = copy.deepcopy(network)
    norms = share_norms(shared)
    assert len(norms) == 2
    for _ in norms:  # the second norm is right once the first is known
        with measuring(norms):
            for half in halves:
                begin_pass(norms)
                shared(half)
    found = []
    for half in halves:
        begin_pass(norms)
        found.append(shared(half))
    torch.testing.assert_close(torch.cat(found, dim=2), expected, rtol=1e-4, atol=1e-4)
    forget(norms)
    begin_pass(norms)
    torch.testing.assert_close(shared(halves[0]), network(halves[0]))


@torch.no_grad()
def test_every_call_of_a_pass_has_statistics_of_its_own():
    norm = PictureNorm(nn.GroupNorm(2, 4))
    levels = torch.randn(1, 4, 8, 8), 5 + 3 * torch.randn(1, 4, 4, 4)
    begin_pass([norm])
    with measuring([norm]):
        expected = [norm(level) for level in levels]
    begin_pass([norm])
    for level, wanted in zip(levels, expected, strict=True):
        torch.testing.assert_close(norm(level), wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_type_stays(dtype: torch.dtype):
    norm = PictureNorm(nn.GroupNorm(2, 4)).to(dtype)
    picture = torch.randn(1, 4, 8, 8).to(dtype)
    with measuring([norm]):
        expected = norm(picture)
    begin_pass([norm])
    found = norm(picture)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.05, atol=0.05)
