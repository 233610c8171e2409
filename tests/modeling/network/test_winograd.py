from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from panoptic_blend.modeling.network import winograd
from panoptic_blend.modeling.network.winograd import (
    PreparedTiledConv,
    TiledConv,
    compute_by_tiles,
    prepare_tiles,
    restore_convolutions,
    transform_weight,
    winograd_conv3x3,
)


@pytest.mark.parametrize("size", [(8, 12), (7, 5), (1, 1), (3, 160), (50, 4)])
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_convolution(size, batch):
    x = torch.randn(batch, 5, *size, dtype=torch.float64)
    weight, bias = torch.randn(7, 5, 3, 3, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    result = winograd_conv3x3(x, transform_weight(weight, weight.dtype), bias)
    torch.testing.assert_close(result, F.conv2d(x, weight, bias, padding=1), rtol=1e-11, atol=1e-11)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 3e-6), (torch.bfloat16, 2e-2)])
def test_loses_few_digits(dtype, relative):
    x, weight, bias = torch.randn(1, 128, 20, 20).relu(), torch.randn(128, 128, 3, 3), torch.randn(128)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    x = x.to(dtype, memory_format=torch.channels_last)
    result = winograd_conv3x3(x, transform_weight(weight, dtype), bias.to(dtype))
    assert result.dtype == dtype
    assert (result.double() - expected).norm() <= relative * expected.norm()


@pytest.mark.parametrize("has_bias", [True, False])
def test_prepared_weights_give_the_same(has_bias):
    network = nn.Sequential(nn.Conv2d(128, 130, 3, padding=1, bias=has_bias))
    x = torch.randn(2, 128, 9, 10)
    expected = network(x)
    prepare_tiles(network, x.dtype)
    assert isinstance(network[0], PreparedTiledConv)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_tiles", [compute_by_tiles, lambda network: prepare_tiles(network, torch.float32)])
def test_is_for_wide_convolutions_of_three_by_three(use_tiles):
    settings = ({"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": 0}, {"padding_mode": "reflect"})
    others = [nn.Conv2d(128, 128, 3, **{"padding": 1, **each}) for each in settings]
    others += [nn.Conv2d(128, 128, 1), nn.Conv2d(64, 128, 3, padding=1), nn.Conv2d(512, 512, 3, padding=1)]
    others += [nn.ConvTranspose2d(128, 128, 3, padding=1)]
    kinds = [type(module) for module in others]
    network = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), *others)
    use_tiles(network)
    assert type(network[0]) in (TiledConv, PreparedTiledConv)
    assert [type(module) for module in network[1:]] == kinds


def test_compiles_as_one_operation():
    torch.library.opcheck(
        torch.ops.panoptic_blend.winograd_conv3x3.default,
        (torch.randn(1, 4, 6, 7), torch.randn(36, 4, 3), torch.randn(3)),
    )


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("size", [(32, 33), (5, 7)])
def test_trains_as_the_convolution_does(has_bias, size):
    plain = nn.Sequential(nn.Conv2d(128, 130, 3, padding=1, bias=has_bias), nn.ReLU(inplace=True)).double()
    tiled = copy.deepcopy(plain)
    compute_by_tiles(tiled)
    x = torch.randn(2, 128, *size, dtype=torch.float64)
    results = []
    for model in (plain, copy.deepcopy(tiled)):
        given = x.clone().requires_grad_()
        output = model(given)
        output.sin().sum().backward()
        results.append([output, given.grad, *(parameter.grad for parameter in model.parameters())])
    for ours, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    assert tiled.state_dict().keys() == plain.state_dict().keys()


def test_gradients_that_nobody_asks_for_are_not_computed(monkeypatch):
    network = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1))
    compute_by_tiles(network)
    maps = []
    monkeypatch.setattr(winograd, "winograd_conv3x3", lambda *given: maps.append(given) or winograd_conv3x3(*given))
    network(torch.randn(1, 128, 40, 40)).sum().backward()
    assert len(maps) == 1
    assert network[0].weight.grad.any()

    network.requires_grad_(False)
    monkeypatch.setattr(winograd, "conv2d_weight", lambda *_: pytest.fail("the weight is not trained"))
    x = torch.randn(1, 128, 40, 40, requires_grad=True)
    network(x).sum().backward()
    assert len(maps) == 3
    assert x.grad.any()


def test_can_be_undone():
    network = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.Conv2d(8, 8, 3))
    compute_by_tiles(network)
    restore_convolutions(network)
    assert [type(module) for module in network] == [nn.Conv2d, nn.Conv2d]
