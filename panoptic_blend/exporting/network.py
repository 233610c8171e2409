"""The network as nodes of an ONNX graph, by torch's own exporter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torchvision  # noqa: F401  # its operations must be known to torch
from onnxscript import ir, opset19
from torch import Tensor, nn

from panoptic_blend.exporting.detections import HeadValues
from panoptic_blend.inference.preparation import fold_norms
from panoptic_blend.modeling.input_rule import SIZE_DIVISOR
from panoptic_blend.modeling.network import NetworkOutput
from panoptic_blend.modeling.network.winograd import restore_convolutions
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

OPSET = 20
"""Of everything that is exported."""
INPUT = "images"


class FlatNetwork(nn.Module):
    """A network whose outputs are a flat tuple in single precision, those that prediction reads.

    Args:
        network: with norms folded.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[1, 3, H, W] -> the tensors of `NetworkOutput` in its order, without those that are missing."""
        return tuple(each.float() for each in flatten(self.network(images)))


@dataclass(frozen=True)
class NetworkValues:
    """What the network gives for one picture, as values of a graph; see `NetworkOutput`."""

    detector: HeadValues | None
    pyramid: list[ir.Value]
    bases: ir.Value | None
    semantic: ir.Value | None


def flatten(output: NetworkOutput) -> list[Tensor]:
    """The tensors that prediction reads, in one list; `unflatten` undoes it."""
    detector = [] if output.detector is None else [each for part in output.detector for each in part]
    alone = [each for each in (output.bases, output.semantic) if each is not None]
    return [*detector, *output.pyramid, *alone]


def unflatten(values: list[ir.Value], model: PanopticBlend) -> NetworkValues:
    """The outputs of an exported network, which stand in the order of `flatten`."""
    levels = len(model.postprocess.strides)
    values = list(values)

    def take(count: int) -> list[ir.Value]:
        taken, values[:] = values[:count], values[count:]
        return taken

    detector = None if model.network.head is None else HeadValues(*(take(levels) for _ in range(4)))
    pyramid = take(levels)
    bases = None if model.network.bases is None else take(1)[0]
    semantic = None if model.network.stuff_predictor is None else take(1)[0]
    return NetworkValues(detector, pyramid, bases, semantic)


def prepare_network(model: PanopticBlend, half: bool) -> FlatNetwork:
    """A copy of a model's network for exporting, norms folded into convolutions."""
    network = copy.deepcopy(model.network).cpu().eval().requires_grad_(False)
    restore_convolutions(network)
    fold_norms(network)
    flat = FlatNetwork(network).eval()
    return flat.half() if half else flat


def example_input(half: bool, size: tuple[int, int] | None) -> tuple[Tensor, dict[int, Any] | None]:
    """An input to trace a network with, and which of its sides may differ; none for a fixed (padded) size."""
    height, width = size or (4 * SIZE_DIVISOR, 5 * SIZE_DIVISOR)
    images = torch.zeros((1, 3, height, width), dtype=torch.float16 if half else torch.float32)
    if size is not None:
        return images, None
    return images, {axis: SIZE_DIVISOR * torch.export.Dim(name, min=1) for axis, name in ((2, "rows"), (3, "columns"))}


def padded_size(model: PanopticBlend, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the network's input for a picture of a size."""
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in model.input_size(*size))
    return height, width


_PLACE = "pkg.torch.onnx.stack_trace"
"""Where torch's exporter writes lines of source code that a node comes from, with paths of this machine."""


def export_network(network: FlatNetwork, half: bool = False, size: tuple[int, int] | None = None) -> ir.Model:
    """A network as an ONNX graph with the input `images` [1, 3, H, W] and the outputs of `flatten`."""
    images, dynamic = example_input(half, size)
    program = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        dynamic_shapes=None if dynamic is None else (dynamic,),
        custom_translation_table=_translations(),
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.pop(_PLACE, None)
    return program.model


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    return {torch.ops.torchvision.deform_conv2d.default: _deform_conv2d}


def _deform_conv2d(
    input: Any,
    weight: Any,
    offset: Any,
    mask: Any,
    bias: Any,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Any:
    """torchvision's operation as the standard one of opset 19."""
    return opset19.DeformConv(
        input,
        weight,
        offset,
        bias,
        mask if use_mask else None,
        strides=[stride_h, stride_w],
        pads=[pad_h, pad_w, pad_h, pad_w],
        dilations=[dilation_h, dilation_w],
        group=groups,
        offset_group=offset_groups,
    )
