"""The whole graph: picture in, id map and segments out."""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass
from onnxscript import GraphBuilder, ir

from panoptic_blend.config import PredictionSettings
from panoptic_blend.exporting.detections import detect
from panoptic_blend.exporting.image import Sizes, normalise
from panoptic_blend.exporting.masks import MaskValues, draw_masks
from panoptic_blend.exporting.merging import (
    Painted,
    Things,
    Thresholds,
    paint_instances,
    paint_stuff,
    place_in_output,
    without_stuff,
)
from panoptic_blend.exporting.network import (
    INPUT,
    OPSET,
    NetworkValues,
    export_network,
    padded_size,
    prepare_network,
    unflatten,
)
from panoptic_blend.exporting.resizing import resize_picture
from panoptic_blend.exporting.stuff import label_pixels
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.interface import COLUMNS, IMAGE, THRESHOLDS


def build_graph(
    model: PanopticBlend,
    half: bool = False,
    size: tuple[int, int] | None = None,
    network: onnx.ModelProto | None = None,
) -> onnx.ModelProto:
    """A model as one ONNX graph of standard operators.

    Inputs: `image` uint8 [H, W, 3] RGB; optional, with the model's settings as defaults, `min_score`, `max_overlap`
    (float) and `min_stuff_area` (int64). Outputs: `id_map` int32 [H, W], `segments` int32 [N, 8] (see
    `runtime.interface.COLUMNS`) and `scores` float [N].

    Args:
        model: stays as it is.
        half: the network computes in half precision; what surrounds it never does.
        size: (height, width) of the only pictures the graph takes; by default it takes pictures of any size.
        network: the model's network as `network_alone` gives it, changed; by default as it is.
    """
    builder = _new_builder("panoptic_blend")
    image, thresholds = _image(builder, size), _thresholds(builder, model.settings)
    images, sizes = _first_half(builder, model, image, half)
    # A copy, since to rename a value is to rename the tensor it was made of.
    inside = ir.from_proto(copy.deepcopy(network or network_alone(model, half, size)))
    output = unflatten(_place(builder.graph, inside.graph, images), model)
    painted = _second_half(builder, model, output, sizes, thresholds)
    _add_outputs(builder, painted, size)
    return _finish(builder)


def build_stages(
    model: PanopticBlend, network: onnx.ModelProto, half: bool = False, size: tuple[int, int] | None = None
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """What stands before and after the network, as two graphs, for runtimes that can hold the network alone.

    Inputs and outputs of the first: `image`; `images`, as the network takes them. Those of the second: what
    `build_graph` takes, and the outputs of the network by their names; what `build_graph` gives.

    Args:
        model, half, size: as for `build_graph`.
        network: as `network_alone` gives it.
    """
    before = _new_builder("before")
    images, _ = _first_half(before, model, _image(before, size), half)
    before.add_output(images, INPUT)
    after = _new_builder("after")
    image, thresholds = _image(after, size), _thresholds(after, model.settings)
    raw = [
        after.input(str(each.name), ir.DataType.FLOAT, each.shape)
        for each in ir.from_proto(copy.deepcopy(network)).graph.outputs
    ]
    _, sizes = resize_picture(after.op, image, model.settings)
    painted = _second_half(after, model, unflatten(raw, model), sizes, thresholds)
    _add_outputs(after, painted, size)
    return _finish(before), _finish(after)


def network_alone(model: PanopticBlend, half: bool, size: tuple[int, int] | None) -> onnx.ModelProto:
    """The network that `build_graph` places into its graph, for pictures of a size or of any."""
    padded = None if size is None else padded_size(model, size)
    return ir.to_proto(export_network(prepare_network(model, half), half, padded))


def _new_builder(name: str) -> GraphBuilder:
    return GraphBuilder(ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name=name))


def _image(builder: GraphBuilder, size: tuple[int, int] | None) -> ir.Value:
    return builder.input(IMAGE, ir.DataType.UINT8, [*(size or ("height", "width")), 3])


def _thresholds(builder: GraphBuilder, settings: PredictionSettings) -> Thresholds:
    return Thresholds(
        *(
            builder.input(name, const_value=ir.tensor(np.asarray(getattr(settings, name), dtype=dtype), name=name))
            for name, dtype in THRESHOLDS.items()
        )
    )


def _first_half(builder: GraphBuilder, model: PanopticBlend, image: ir.Value, half: bool) -> tuple[ir.Value, Sizes]:
    op = builder.op
    pixels, sizes = resize_picture(op, image, model.settings)
    images = normalise(op, pixels, sizes.image, model.input_rule)
    return op.Cast(images, to=ir.DataType.FLOAT16 if half else ir.DataType.FLOAT), sizes


def _add_outputs(builder: GraphBuilder, painted: Painted, size: tuple[int, int] | None) -> None:
    height, width = size or ("height", "width")
    for name, value, shape in (
        ("id_map", painted.id_map, [height, width]),
        ("segments", painted.segments, ["segments", len(COLUMNS)]),
        ("scores", painted.scores, ["segments"]),
    ):
        value.shape = ir.Shape([*shape])
        builder.add_output(value, name)


def _finish(builder: GraphBuilder) -> onnx.ModelProto:
    whole = ir.Model(builder.graph, ir_version=10, producer_name="panoptic_blend")
    RemoveUnusedNodesPass()(whole)
    NameFixPass()(whole)  # a body of a Loop may not use a name of what surrounds it
    exported = ir.to_proto(whole)
    onnx.checker.check_model(exported, full_check=True)
    return exported


def _second_half(
    builder: GraphBuilder, model: PanopticBlend, output: NetworkValues, sizes: Sizes, thresholds: Thresholds
) -> Painted:
    op, categories = builder.op, model.categories
    if output.detector is None:
        nothing = op.Expand(op.Cast(0, to=ir.DataType.INT32), sizes.output)
        things = Things(nothing, op.Expand(0, [0]), op.Expand(0.0, [0]))
    else:
        assert model.mask_head is not None
        found = detect(op, output.detector, model.postprocess.strides, model.settings)
        boxes, has_area = place_in_output(op, found, sizes)
        keep = op.And(has_area, op.GreaterOrEqual(found.scores, thresholds.min_score))
        found, boxes = found.where(op, keep), op.Compress(boxes, keep, axis=0)
        features = MaskValues(output.bases, output.detector.towers, output.pyramid)
        patches = op.Sigmoid(draw_masks(op, model.mask_head, features, found))
        things = paint_instances(
            op,
            boxes,
            patches,
            found,
            categories,
            sizes,
            thresholds,
            model.mask_head.resolution,
            model.settings.max_detections,
        )
    if output.semantic is None:
        return without_stuff(op, things)
    labels = label_pixels(op, output.semantic, sizes)
    return paint_stuff(op, things, labels, categories, thresholds)


def _place(graph: ir.Graph, network: ir.Graph, images: ir.Value) -> list[ir.Value]:
    """Move a network's nodes to the end of a graph, reading `images`; its outputs."""
    outputs = list(network.outputs)
    network.outputs.clear()
    ir.convenience.replace_all_uses_with(network.inputs[0], images)
    for name, value in list(network.initializers.items()):
        network.initializers.pop(name)
        value.name = f"network.{name}"
        graph.register_initializer(value)
    for node in list(network):
        network.remove(node)
        for value in node.outputs:
            value.name = f"network.{value.name}"
        node.name = f"network.{node.name}"
        graph.append(node)
    return outputs
