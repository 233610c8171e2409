"""Makes a model fast for prediction: the same function, in the form that suits the device."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.hardware import can_compile, fast_precision, warn_of_slow_bf16
from panoptic_blend.modeling.network import NetworkOutput
from panoptic_blend.modeling.network.backbone import ResNet
from panoptic_blend.modeling.network.efficientnet_lite import (
    DepthwiseConv,
    EfficientNetLite,
    InvertedResidual,
    SamePadConv,
    SeparableBlock,
)
from panoptic_blend.modeling.network.layers import FrozenBatchNorm
from panoptic_blend.modeling.network.winograd import compute_by_tiles, prepare_tiles, restore_convolutions
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

Precision = Literal["auto", "fp32", "bf16"]


class PreparedNetwork(nn.Module):
    """A network with the type and the memory layout of its input.

    Args:
        network: to run, with all parameters of one type.
        dtype: that type.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, images: Tensor) -> NetworkOutput:
        """As the network's."""
        return self.network(images.to(self.dtype, memory_format=torch.channels_last))


def prepare(
    model: PanopticBlend,
    device: torch.device,
    precision: Precision = "auto",
    compile: bool = False,
    tiles: bool = True,
) -> PanopticBlend:
    """A copy of a model that predicts the same faster, and cannot be trained or saved.

    Norms of fixed statistics are folded into convolutions, tensors are laid out channels last, and on CPUs wide 3x3
    convolutions are computed by tiles (`modeling.winograd`). What follows the network stays in single precision.

    Args:
        model: stays as it is.
        device: where the copy goes.
        precision: of the network; 'auto' takes bf16 where the device multiplies it faster, else fp32.
        compile: run the network, on CPUs its backbone and pyramid, through torch.compile, once for every input size.
            Where torch finds no C++ compiler, which it needs, the network runs uncompiled and a warning says so.
        tiles: on CPUs, compute wide 3x3 convolutions by tiles; off leaves every convolution to torch.

    Raises:
        ConfigError: there is no such precision.
    """
    dtype = choose_dtype(device, precision)
    if dtype == torch.bfloat16:
        warn_of_slow_bf16(device)
    prepared = copy.deepcopy(model).eval().requires_grad_(False)
    network = prepared.network.to(device)
    restore_convolutions(network)  # those of a model straight from training
    fold_norms(network)
    tiles = tiles and device.type == "cpu"
    if tiles and dtype == torch.float32:
        compute_by_tiles(network)  # with plain weights: the others would take the memory that is saved elsewhere
    elif tiles:
        prepare_tiles(network, dtype)
    network = network.to(dtype).to(memory_format=torch.channels_last)
    result: nn.Module = PreparedNetwork(network, dtype)
    compile = compile and can_compile(device)
    if compile and device.type == "cpu":
        # Not the branches: compiled group norms and upsampling are slower than torch's own.
        for part in (network.backbone, network.fpn):
            part.compile(dynamic=False, options={"freezing": True})
    elif compile:
        result = torch.compile(result, dynamic=False)  # type: ignore[assignment]
    prepared.network = result  # type: ignore[assignment]
    return prepared.to(device)


def choose_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """The type a network gets on a device.

    Raises:
        ConfigError: there is no such precision.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r}: choose one of {', '.join(get_args(Precision))}.")
    if precision == "auto":
        precision = fast_precision(device)
    return torch.bfloat16 if precision == "bf16" else torch.float32


def fold_norms(network: nn.Module) -> None:
    """Multiply batch norms into the convolutions before them, which then give what the norms gave. In place."""
    for parent, convolution_name, norm_name in list(_convolutions_before_norms(network)):
        convolution, norm = getattr(parent, convolution_name), getattr(parent, norm_name)
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.weight, convolution.bias = weight.requires_grad_(False), bias.requires_grad_(False)
        setattr(parent, norm_name, nn.Identity())


def _convolutions_before_norms(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """(module, its convolution's name, its norm's name) wherever it is certain that one directly feeds the other."""
    for module in network.modules():
        pairs: list[tuple[str, str]] = []
        if isinstance(module, nn.Sequential):
            names = [name for name, _ in module.named_children()]
            pairs = list(pairwise(names))
        elif isinstance(module, (ResNet, BasicBlock, Bottleneck)):
            pairs = [(f"conv{index}", f"bn{index}") for index in (1, 2, 3) if hasattr(module, f"bn{index}")]
        elif isinstance(module, (EfficientNetLite, SeparableBlock, InvertedResidual)):
            names = [name for name, _ in module.named_children()]
            pairs = [(before, name) for before, name in pairwise(names) if name.startswith("bn")]
        for convolution, norm in pairs:
            # Not subclasses: timm's batch norms have the activation inside.
            norms = type(getattr(module, norm)) in (nn.BatchNorm2d, FrozenBatchNorm)
            if norms and type(getattr(module, convolution)) in (nn.Conv2d, SamePadConv, DepthwiseConv):
                yield module, convolution, norm
