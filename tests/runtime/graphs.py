"""Small ONNX graphs made by hand: what an exported model takes and gives, in three operators, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from panoptic_blend.config import ModelConfig, PredictionSettings
from panoptic_blend.runtime.manifest import (
    AFTER,
    BEFORE,
    MANIFEST,
    MODEL,
    WEIGHTS,
    ImageInput,
    Manifest,
    write_manifest,
)
from panoptic_blend.runtime.model_files import describe_files
from panoptic_blend.synthetic.scene import SHAPES

STUFF = SHAPES.stuff[0]


def stuff_graph(channels: int = 3, map_type: int = TensorProto.INT32, columns: int = 8) -> onnx.ModelProto:
    """A graph that calls every pixel one stuff, of score 1 - `min_score`; `segments` says an area of 1."""
    row = np.array([[7, STUFF.id, 0, 1, 0, 0, 1, 1][:columns]], np.int32)
    nodes = [
        helper.make_node("ReduceMax", ["image", "channel"], ["highest"], keepdims=0),
        helper.make_node("Cast", ["highest"], ["pixels"], to=map_type),
        helper.make_node("Mul", ["pixels", "zero"], ["void"]),
        helper.make_node("Add", ["void", "id"], ["id_map"]),
        helper.make_node("Identity", ["row"], ["segments"]),
        helper.make_node("Sub", ["one", "min_score"], ["score"]),
        helper.make_node("Unsqueeze", ["score", "first"], ["scores"]),
    ]
    number = helper.tensor_dtype_to_np_dtype(map_type)
    constants = {
        "channel": np.array([2]),
        "zero": np.array(0, number),
        "id": np.array(7, number),
        "row": row,
        "one": np.array(1, np.float32),
        "first": np.array([0]),
        "min_score": np.array(0.45, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "stuff",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["height", "width", channels]),
            helper.make_tensor_value_info("min_score", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("id_map", map_type, ["height", "width"]),
            helper.make_tensor_value_info("segments", TensorProto.INT32, [1, columns]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def write_export(folder: Path, model: onnx.ModelProto | bytes, size: tuple[int, int] | None = None) -> Path:
    """An exported folder around a graph."""
    folder.mkdir(parents=True)
    content = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    config = ModelConfig()
    manifest = Manifest(
        runtime="onnxruntime",
        precision="fp32",
        files=describe_files(folder, {MODEL: "model.onnx"}),
        categories=SHAPES,
        input=ImageInput((0, 0, 0), (1, 1, 1), "RGB", 32, size),
        settings=replace(PredictionSettings.of(config)),
        config=config,
    )
    write_manifest(manifest, folder)
    return folder


def write_stages(folder: Path) -> Path:
    """An exported folder for OpenVINO, which does in three files what `stuff_graph` does in one."""
    import openvino

    write_export(folder, stuff_graph())
    before = helper.make_graph(
        [helper.make_node("Cast", ["image"], ["images"], to=TensorProto.FLOAT)],
        "before",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["height", "width", 3])],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["height", "width", 3])],
    )
    network = helper.make_graph(
        [helper.make_node("ReduceMax", ["images", "channel"], ["brightest"], keepdims=0)],
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["height", "width", 3])],
        [helper.make_tensor_value_info("brightest", TensorProto.FLOAT, ["height", "width"])],
        [numpy_helper.from_array(np.array([2]), "channel")],
    )
    after = stuff_graph()
    after.graph.input.append(helper.make_tensor_value_info("brightest", TensorProto.FLOAT, ["height", "width"]))
    del after.graph.node[0]
    after.graph.node[0].input[0] = "brightest"
    for name, graph in (("before", before), ("network", network)):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    (folder / "after.onnx").write_bytes(after.SerializeToString())
    openvino.save_model(openvino.Core().read_model(str(folder / "network.onnx")), folder / "network.xml")
    for name in ("model.onnx", "network.onnx"):
        (folder / name).unlink()
    declare_openvino(folder)
    return folder


def declare_openvino(folder: Path) -> None:
    """Make `model.json` say that the files are OpenVINO's."""
    content = json.loads((folder / MANIFEST).read_text()) | {"runtime": "openvino"}
    (folder / MANIFEST).write_text(json.dumps(content))
    seal(folder, {BEFORE: "before.onnx", MODEL: "network.xml", WEIGHTS: "network.bin", AFTER: "after.onnx"})


def seal(folder: Path, files: Mapping[str, str]) -> None:
    """Write the hashes of the files that there are now into `model.json`, by which any content is what was exported."""
    content = json.loads((folder / MANIFEST).read_text())
    content["files"] = {key: asdict(file) for key, file in describe_files(folder, files).items()}
    (folder / MANIFEST).write_text(json.dumps(content))


def store_outside(model: onnx.ModelProto, place: str, within: Sequence[str] = ()) -> onnx.ModelProto:
    """The graph with one tensor's values in another file; `within` names an attribute's graphs to hide it in."""
    tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=place)
    if not within:
        model.graph.initializer.append(tensor)
        return model
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("outside", TensorProto.FLOAT, [1])])
    inner.initializer.append(tensor)
    node = helper.make_node("If", ["yes"], ["chosen"], **{name: inner for name in within})
    model.graph.node.append(node)
    return model
