"""What onnxruntime asks of a quantized graph before it multiplies in integers.

onnxruntime computes a convolution in integers where its input and its output are rounded to the same type. NNCF rounds
inputs alone, of several types: where a norm or a ReLU follows, results stay in float, and so would the convolution.
OpenVINO needs none of this, and version 2026.4 gives other numbers for activations without sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def prepare_for_onnxruntime(network: onnx.ModelProto, images: Sequence[npt.NDArray[np.float32]]) -> None:
    """Change a network that NNCF quantized so that its convolutions are computed in integers. In place.

    Args:
        network: with the one input `images`.
        images: [1, 3, H, W] to measure the ranges of results on.
    """
    _make_unsigned(network.graph)
    _round_results(network, images)
    _round_once(network.graph)


def _make_unsigned(graph: onnx.GraphProto) -> None:
    """Activations of int8 become uint8: the zero is 128 higher, what it stands for stays the same."""
    constants = {constant.name: constant for constant in graph.initializer}
    moved = set()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in constants:
            zero = constants[node.input[2]]
            if zero.data_type == TensorProto.INT8 and zero.name not in moved:
                value = numpy_helper.to_array(zero).astype(np.int64) + 128
                zero.CopyFrom(numpy_helper.from_array(value.astype(np.uint8), zero.name))
                moved.add(zero.name)
    del graph.value_info[:]  # which says int8


def _round_results(network: onnx.ModelProto, images: Sequence[npt.NDArray[np.float32]]) -> None:
    """Results of convolutions in integers that a norm or a ReLU reads are rounded as well.

    What leaves the network, and what is scaled or bounded on the way there, stays as it is: scores and boxes do not
    suffer.
    """
    graph = network.graph
    names = _results(graph)
    if not names:
        return
    nodes = []
    ranges = dict(zip(names, _measure(network, names, images), strict=True))
    for node in graph.node:
        node.input[:] = [f"{name}/rounded" if name in ranges else name for name in node.input]
    for node in graph.node:
        nodes.append(node)
        for name in node.output:
            if name in ranges:
                nodes += _rounding(graph, name, *ranges[name])
    _replace_nodes(graph, nodes)


def _results(graph: onnx.GraphProto) -> list[str]:
    """Values that `_round_results` is about."""
    makers = {name: node for node in graph.node for name in node.output}
    readers = _readers(graph)
    left = {output.name for output in graph.output}

    def is_scaled(name: str) -> bool:
        return name in makers and makers[name].op_type == "DequantizeLinear"

    found = []
    for node in graph.node:
        if node.op_type != "Conv" or not all(is_scaled(name) for name in node.input[:2]):
            continue
        result = node.output[0]
        following = [reader.op_type for reader in readers[result]]
        if following == ["Relu"] and result not in left:
            result = readers[result][0].output[0]
        elif "Reshape" not in following:  # into the groups of a norm
            continue
        if result not in left and any(reader.op_type != "QuantizeLinear" for reader in readers[result]):
            found.append(result)
    return found


def _measure(
    network: onnx.ModelProto, names: Sequence[str], images: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float64]:
    """[names, 2] the least and the largest of each value, the mean over images."""
    measured = onnx.ModelProto()
    measured.CopyFrom(network)
    del measured.graph.output[:]
    for index, name in enumerate(names):
        for kind in ("ReduceMin", "ReduceMax"):
            output = f"{kind}_{index}"
            measured.graph.node.append(helper.make_node(kind, [name], [output], keepdims=0))
            measured.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(measured.SerializeToString(), options, providers=["CPUExecutionProvider"])
    seen = [session.run(None, {measured.graph.input[0].name: each}) for each in images]
    return np.mean(np.array(seen, np.float64), axis=0).reshape(-1, 2)


def _rounding(graph: onnx.GraphProto, name: str, least: float, largest: float) -> list[onnx.NodeProto]:
    """The pair of nodes that rounds a value to uint8."""
    least, largest = min(least, 0.0), max(largest, 0.0)
    scale = max(largest - least, 1e-6) / 255
    constants = [f"{name}/scale", f"{name}/zero"]
    for constant, value in zip(constants, (np.float32(scale), np.uint8(round(-least / scale))), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.array(value), constant))
    levels, rounded = f"{name}/levels", f"{name}/rounded"
    return [
        helper.make_node("QuantizeLinear", [name, *constants], [levels], name=levels),
        helper.make_node("DequantizeLinear", [levels, *constants], [rounded], name=rounded),
    ]


def _round_once(graph: onnx.GraphProto) -> None:
    """One value that is rounded the same way for several readers is rounded once."""
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer if len(each.dims) == 0}
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[1] in constants:
            scale, zero = (constants[name] for name in node.input[1:])
            key = (node.op_type, node.input[0], scale.item(), zero.item(), zero.dtype)
            if key in first:
                same[node.output[0]] = first[key]
                continue
            first[key] = node.output[0]
        nodes.append(node)
    _replace_nodes(graph, nodes)


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    readers: dict[str, list[onnx.NodeProto]] = {name: [] for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
