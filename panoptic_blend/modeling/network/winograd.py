"""3x3 convolutions with a quarter of the multiplications, for CPUs.

A tile of 4x4 outputs of a 3x3 convolution needs 144 multiplications a pair of channels. Evaluated as a product of
polynomials at the points 0, 1, -1, 1/2, -2 and infinity, in both directions, it needs 36 (Lavin and Gray, Fast
Algorithms for Convolutional Neural Networks, 2016, sec. 4). The two linear maps into and out of that form cost little
beside the products over channels, which are one batched matrix multiplication.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight

_OPERATION = "panoptic_blend::winograd_conv3x3"
TILE = 4
"""Outputs a tile, in each direction."""
_SPAN = TILE + 2
_BYTES_AT_ONCE = 6 << 20
"""Of inputs in tile form: enough for fast products, few enough to stay in the last cache between them."""
_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Unlike the usual 0, 1, -1, 2, -2 they lose hardly more digits than the convolution itself."""


def _polynomial_maps() -> tuple[Tensor, Tensor, Tensor]:
    """The maps of one direction: of six inputs [6, 6], of three weights [6, 3], and back to four outputs [4, 6]."""
    inputs = torch.zeros(_SPAN, _SPAN, dtype=torch.float64)
    weights = torch.zeros(_SPAN, 3, dtype=torch.float64)
    outputs = torch.zeros(TILE, _SPAN, dtype=torch.float64)
    for row, point in enumerate(_POINTS):
        others = [other for other in _POINTS if other != point]
        inputs[row, :-1] = _coefficients(others)
        scale = torch.tensor([point - other for other in others], dtype=torch.float64).prod()
        weights[row] = torch.tensor([point**power for power in range(3)], dtype=torch.float64) / scale
        outputs[:, row] = torch.tensor([point**power for power in range(TILE)], dtype=torch.float64)
    inputs[-1] = _coefficients(_POINTS)
    weights[-1, -1] = outputs[-1, -1] = 1
    return inputs, weights, outputs


def _coefficients(roots: tuple[float, ...] | list[float]) -> Tensor:
    """Of the monic polynomial with these roots, the constant first."""
    polynomial = torch.ones(1, dtype=torch.float64)
    for root in roots:
        polynomial = F.pad(polynomial, (1, 0)) - root * F.pad(polynomial, (0, 1))
    return polynomial


_INPUTS, _WEIGHTS, _OUTPUTS = _polynomial_maps()
# Every entry is a sum of few powers of two, hence exact in bfloat16 too.
_TO_TILE_FORM = torch.kron(_INPUTS, _INPUTS)
_FROM_TILE_FORM = torch.kron(_OUTPUTS, _OUTPUTS)
_WEIGHT_TO_TILE_FORM = torch.kron(_WEIGHTS, _WEIGHTS)


def transform_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Weights [O, C, 3, 3] in the form that `winograd_conv3x3` multiplies with, [36, C, O] of `dtype`."""
    taps = weight.permute(2, 3, 1, 0).reshape(9, -1)
    transformed = _WEIGHT_TO_TILE_FORM.to(weight.dtype) @ taps
    return transformed.view(_SPAN**2, weight.shape[1], weight.shape[0]).to(dtype)


def winograd_conv3x3(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`F.conv2d(x, original_weight, bias, padding=1)` up to rounding, one operation to `torch.compile`.

    Args:
        x: [B, C, H, W].
        weight: [36, C, O] from `transform_weight`.
        bias: [O].

    Returns:
        [B, O, H, W], channels_last.
    """
    return torch.ops.panoptic_blend.winograd_conv3x3(x, weight, bias)


# Not torch.library.custom_op, which imports torch's compiler when it is first called: 150 MiB and a second.
torch.library.define(_OPERATION, "(Tensor x, Tensor weight, Tensor bias) -> Tensor")


@torch.library.impl(_OPERATION, "cpu")
def _winograd_conv3x3(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    num_outputs = weight.shape[2]
    rows, columns = -(-height // TILE), -(-width // TILE)
    to_form, from_form = _TO_TILE_FORM.to(x.dtype), _FROM_TILE_FORM.to(x.dtype)
    image = x.permute(0, 2, 3, 1)
    output = x.new_empty((batch, rows, TILE, columns, TILE, num_outputs))
    step = max(1, _BYTES_AT_ONCE // (_SPAN**2 * batch * columns * channels * x.element_size()))
    for row in range(0, rows, step):
        tiles = _tiles(image, row, min(row + step, rows), columns)
        formed = to_form @ tiles.reshape(_SPAN**2, -1)
        product = torch.bmm(formed.view(_SPAN**2, -1, channels), weight)
        values = (from_form @ product.view(_SPAN**2, -1)).view(TILE, TILE, batch, -1, columns, num_outputs)
        torch.add(values.permute(2, 3, 0, 4, 1, 5), bias, out=output[:, row : row + step])
    result = output.view(batch, rows * TILE, columns * TILE, num_outputs)[:, :height, :width]
    return result.contiguous().permute(0, 3, 1, 2)


def _tiles(image: Tensor, first: int, last: int, columns: int) -> Tensor:
    """Rows `first` to `last` of the overlapping inputs of tiles: [B, H, W, C] -> view [6, 6, B, rows, columns, C]."""
    height, width = image.shape[1:3]
    top, bottom = first * TILE - 1, last * TILE + 1
    strip = image[:, max(top, 0) : min(bottom, height)]
    margins = (0, 0, 1, columns * TILE + 1 - width, max(-top, 0), max(bottom - height, 0))
    return F.pad(strip, margins).unfold(1, _SPAN, TILE).unfold(2, _SPAN, TILE).permute(4, 5, 0, 1, 2, 3)


@torch.library.register_fake(_OPERATION)
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[2], x.shape[3], weight.shape[2])).permute(0, 3, 1, 2)


class TiledConv(nn.Conv2d):
    """A 3x3 convolution that computes large maps, and the gradients of their inputs, by tiles."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H, W]."""
        if x.shape[2] * x.shape[3] < _LEAST_PIXELS:
            return super().forward(x)
        return _TiledConvolution.apply(x, self.weight, self.bias)


_LEAST_PIXELS = 1000
"""On smaller maps, bringing the weights into tile form takes longer than is saved."""


class _TiledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        bias = weight.new_zeros(weight.shape[0]) if bias is None else bias
        # Detached, since what follows in place, as ReLUs do, is not allowed on what autograd takes for a view.
        return winograd_conv3x3(x, transform_weight(weight, weight.dtype), bias).detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:  # the transposed convolution, which is one with turned weights
            turned = transform_weight(weight.flip(2, 3).transpose(0, 1), weight.dtype)
            of_x = winograd_conv3x3(gradient, turned, weight.new_zeros(weight.shape[1]))
        if ctx.needs_input_grad[1]:
            of_weight = conv2d_weight(x, weight.shape, gradient, padding=1)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias


class PreparedTiledConv(nn.Module):
    """A 3x3 convolution with its weights in tile form, which take four times the room; cannot be trained.

    Args:
        convolution: whose weights it takes.
        dtype: of its input, and of its own weights.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype):
        super().__init__()
        bias = torch.zeros(convolution.out_channels) if convolution.bias is None else convolution.bias.detach()
        self.register_buffer("weight", transform_weight(convolution.weight.detach(), dtype))
        self.register_buffer("bias", bias.to(dtype, copy=True))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H, W]."""
        return winograd_conv3x3(x, self.weight, self.bias)


def compute_by_tiles(network: nn.Module) -> None:
    """Let the convolutions that tiles pay for use them. In place; parameters and names stay."""
    for module in network.modules():
        if _pays_for(module):
            module.__class__ = TiledConv


def restore_convolutions(network: nn.Module) -> None:
    """Undo `compute_by_tiles`. In place."""
    for module in network.modules():
        if isinstance(module, TiledConv):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]


def prepare_tiles(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the convolutions that tiles pay for by `PreparedTiledConv` of a type. In place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if _pays_for(child):
                assert isinstance(child, nn.Conv2d)
                setattr(parent, name, PreparedTiledConv(child, dtype))


def _pays_for(module: nn.Module) -> bool:
    """Whether a module is a convolution that tiles can compute, and of a width where that pays.

    In narrow ones the two maps outweigh the products. The widest see few pixels, so that little time would be saved
    for large weights in tile form.
    """
    return (
        type(module) is nn.Conv2d
        and (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
        and (module.dilation, module.groups, module.padding_mode) == ((1, 1), 1, "zeros")
        and 128 <= module.in_channels <= 256
        and 64 <= module.out_channels <= 256
    )
