from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from panoptic_blend.modeling.network.efficientnet_lite import DepthwiseConv, SamePadConv


@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_odd_pixel_of_padding_is_at_the_end(kernel: int, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer, image = SamePadConv(2, 3, kernel, stride), torch.randn(1, 2, *size)
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    padded = F.pad(image, (before, after, before, after))
    torch.testing.assert_close(layer(image), F.conv2d(padded, layer.weight, stride=stride))


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_filters_train_in_full_precision_and_predict_in_half(stride: int) -> None:
    torch.manual_seed(0)
    layer, image = DepthwiseConv(4, 5, stride), torch.randn(2, 4, 16, 16).bfloat16()
    (expected,) = torch.autograd.grad(layer(image.float()).square().sum(), layer.weight)
    with torch.autocast("cpu", torch.bfloat16):
        trained = layer(image)
        with torch.no_grad():
            predicted = layer(image)
    (gradient,) = torch.autograd.grad(trained.square().sum(), layer.weight)
    assert (trained.dtype, predicted.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(predicted.float(), trained, rtol=0.02, atol=0.02)
