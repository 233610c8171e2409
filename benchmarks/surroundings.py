"""What stands before and after the network of an exported graph, as graphs of their own: to time them alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime

from panoptic_blend.files.images import Pixels

OWN = "network."
"""What names of the network's nodes begin with, see `exporting.graph`."""


def open_surroundings(path: Path, picture: Pixels, threads: int) -> dict[str, Callable[[], list[Any]]]:
    """Functions that run what stands before ('input') and after ('rest') the network.

    onnxruntime's own profile does not tell, since to write down the thousands of small nodes of a Loop takes longer
    than some of them.

    Args:
        path: a graph as `export` writes it.
        picture: uint8 [H, W, 3] that they see.
        threads: that onnxruntime takes.
    """
    graph = onnx.load(path)
    inside = [node for node in graph.graph.node if node.name.startswith(OWN)]
    outside = [node for node in graph.graph.node if not node.name.startswith(OWN)]
    entered = _handed_on(outside, inside)
    left = _handed_on(inside, outside)
    seen: Mapping[str, npt.NDArray[Any]] = {"image": picture}
    values = dict(zip(left, _open(graph, list(graph.graph.node), [], left, threads).run(left, seen), strict=True))
    before = _open(graph, outside, [], entered, threads)
    ends = [output.name for output in graph.graph.output]
    after = _open(graph, outside, left, ends, threads)
    return {"input": lambda: before.run(entered, seen), "rest": lambda: after.run(ends, {**seen, **values})}


def _handed_on(makers: list[onnx.NodeProto], readers: list[onnx.NodeProto]) -> list[str]:
    made = {name for node in makers for name in node.output}
    return sorted(made & {name for node in readers for name in _read(node)})


def _needed(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """Those that outputs come from, in their order."""
    names, found = set(outputs), []
    for node in reversed(nodes):
        if names & set(node.output):
            names |= _read(node)
            found.append(node)
    return found[::-1]


def _read(node: onnx.NodeProto) -> set[str]:
    """What a node reads, and the nodes of graphs inside of it."""
    inner = [each for attribute in node.attribute for each in attribute.g.node]
    return {*node.input}.union(*(_read(each) for each in inner))


def _open(
    graph: onnx.ModelProto, nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str], threads: int
) -> onnxruntime.InferenceSession:
    """Some nodes of a graph with inputs beside its own, and other outputs; what is not needed is left out."""
    known = {output.name: output for output in graph.graph.output}  # all others are floats
    kept = onnx.ModelProto()
    kept.CopyFrom(graph)
    del kept.graph.node[:]
    del kept.graph.output[:]
    kept.graph.node.extend(_needed(nodes, outputs))
    for field, names in ((kept.graph.input, inputs), (kept.graph.output, outputs)):
        for name in names:
            field.append(known.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(kept.SerializeToString(), options, providers=["CPUExecutionProvider"])
