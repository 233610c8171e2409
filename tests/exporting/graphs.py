"""Runs a piece of a graph by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx_ir.passes.common import NameFixPass
from onnxscript import GraphBuilder, ir

from panoptic_blend.exporting.network import OPSET


def run_piece(build: Callable[..., Sequence[ir.Value]], *inputs: Any) -> list[np.ndarray]:
    """What a piece of a graph gives for arrays or tensors.

    Args:
        build: takes the operators and a value an input, gives the outputs.
    """
    arrays = [np.asarray(each) for each in inputs]
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="piece")
    builder = GraphBuilder(graph)
    values = [
        builder.input(f"input_{i}", ir.DataType.from_numpy(array.dtype), array.shape) for i, array in enumerate(arrays)
    ]
    for index, value in enumerate(build(builder.op, *values)):
        builder.add_output(builder.op.Identity(value), f"output_{index}")
    model = ir.Model(graph, ir_version=10)
    NameFixPass()(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {f"input_{i}": array for i, array in enumerate(arrays)})
