"""Networks in 8-bit integers: what is quantized, what stays in float, and what is refused."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.errors import CheckpointError
from panoptic_blend.exporting import quantization
from panoptic_blend.exporting.graph import build_graph, network_alone
from panoptic_blend.exporting.guard import fewest_in_float
from panoptic_blend.exporting.integers import prepare_for_onnxruntime
from panoptic_blend.exporting.network import INPUT
from panoptic_blend.exporting.quantization import damages, parts, quantize
from panoptic_blend.inference.loading import load
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import read_manifest
from panoptic_blend.runtime.processor import processor_kind
from tests.exporting.test_graph import lively_model


@pytest.fixture(scope="module")
def model(shapes_root: Path) -> PanopticBlend:
    return lively_model(PanopticAnnotations.load(shapes_root / "annotations" / "panoptic_val.json").categories)


@pytest.fixture(scope="module")
def network(model: PanopticBlend) -> onnx.ModelProto:
    return network_alone(model, half=False, size=None)


IMAGES = [torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(seed)).numpy() for seed in range(3)]


def for_onnxruntime(network: onnx.ModelProto) -> onnx.ModelProto:
    quantized = quantize(network, IMAGES)
    prepare_for_onnxruntime(quantized, IMAGES)
    return quantized


def in_integers(network: onnx.ModelProto) -> set[str]:
    """The parts whose convolutions have weights of 8-bit integers."""
    scaled = {name for node in network.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    quantized = {node.name for node in network.graph.node if node.op_type == "Conv" and node.input[1] in scaled}
    return {part for part, names in parts(network).items() if quantized & set(names)}


def test_all_parts_are_quantized_but_those_left_out(network: onnx.ModelProto) -> None:
    everything = set(parts(network))
    assert {"backbone.layer1", "fpn.output", "head.class_logits", "bases.predictor", "stuff_predictor"} <= everything
    assert in_integers(network) == set()
    assert in_integers(quantize(network, IMAGES)) == everything
    assert in_integers(quantize(network, IMAGES, ["head.class_logits", "fpn.output"])) == everything - {
        "head.class_logits",
        "fpn.output",
    }


def test_the_outputs_stay_near(network: onnx.ModelProto) -> None:
    for ours, theirs in zip(
        quantization._run(network, IMAGES[0]), quantization._run(for_onnxruntime(network), IMAGES[0]), strict=True
    ):
        assert 0 < np.abs(ours - theirs).mean() < 0.3 * np.abs(ours).mean()


def test_onnxruntime_multiplies_in_integers_but_for_what_leaves_the_network(
    model: PanopticBlend, network: onnx.ModelProto, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    graph = build_graph(model, network=for_onnxruntime(network))
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    in_float = {node.name for node in onnx.load(tmp_path / "optimized.onnx").graph.node if "Conv" in node.op_type}
    left = {part for part, names in parts(network).items() if in_float & {f"network.{name}" for name in names}}
    assert left == {"head.class_logits", "head.distances", "head.centerness", "bases.predictor", "stuff_predictor"}


def test_depthwise_convolutions_are_computed_in_integers_right_after_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 1),
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 4, 1),
    )
    exported = torch.onnx.export(layers.eval(), (torch.zeros(1, 3, 64, 96),), input_names=[INPUT], dynamo=True)
    assert exported is not None
    whole = exported.model_proto
    quantized = for_onnxruntime(whole)
    for ours, theirs in zip(quantization._run(whole, IMAGES[0]), quantization._run(quantized, IMAGES[0]), strict=True):
        assert 0 < np.abs(ours - theirs).mean() < 0.1 * np.abs(ours).mean()
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node if "Conv" in node.op_type]
    assert kinds.count("QLinearConv") == 2  # the last leaves the network
    assert len(kinds) == 3


def test_values_are_rounded_once_to_bytes_without_sign_that_mean_the_same(network: onnx.ModelProto) -> None:
    quantized = for_onnxruntime(network)
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in quantized.graph.initializer}
    rounded = [node for node in quantized.graph.node if node.op_type == "QuantizeLinear"]
    assert {str(constants[node.input[2]].dtype) for node in rounded} == {"uint8"}
    assert len({(node.input[0], *(constants[name].item() for name in node.input[1:])) for node in rounded}) == len(
        rounded
    )
    entry = next(node for node in rounded if node.input[0] == INPUT)
    scale, zero = (constants[name].astype(np.float64) for name in entry.input[1:])
    ends = [float(np.mean([end(image) for image in IMAGES])) for end in (np.min, np.max)]
    assert [scale * (0 - zero), scale * (255 - zero)] == pytest.approx(ends, rel=0.3)


def test_damage_is_how_far_outputs_move_when_one_part_alone_is_quantized(network: onnx.ModelProto) -> None:
    others = [part for part in parts(network) if part != "head.distances"]
    alone = quantize(network, IMAGES[:1], others)
    assert in_integers(alone) == {"head.distances"}
    ours, theirs = quantization._run(network, IMAGES[0]), quantization._run(alone, IMAGES[0])
    moved = [abs(b - a).mean() / abs(a).mean() for a, b in zip(ours, theirs, strict=True)]
    found = dict(damages(network, IMAGES[:1]))
    assert list(found) == list(parts(network))
    assert found["head.distances"] == pytest.approx(sum(moved) / len(moved))


def test_parts_return_to_float_one_by_one_until_the_loss_is_small_enough() -> None:
    asked = []

    def pq_with(in_float: Collection[str]) -> float:
        asked.append(list(in_float))
        return 50 - 3 + len(in_float)

    assert fewest_in_float(lambda: ["c", "a", "b", "d"], pq_with, 50, 1.0, lambda line: None) == (["c", "a"], 49)
    assert asked == [[], ["c"], ["c", "a"]]
    with pytest.raises(CheckpointError, match="costs more than 1 points of PQ"):
        fewest_in_float(lambda: ["a", "b"], lambda in_float: 40, 50, 1.0, lambda line: None)
    assert (
        fewest_in_float(lambda: pytest.fail("not needed"), lambda in_float: 50.2, 50, 0.0, lambda line: None)[0] == []
    )


@pytest.mark.parametrize("form", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_command_measures_pq_and_keeps_what_misses_the_bound_to_itself(
    form: str, model: PanopticBlend, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if form == "openvino":  # of random weights OpenVINO 2026.4 makes nothing on some processors, which export refuses
        loaded = load("nuclei-nano")
        assert isinstance(loaded, PanopticBlend)
        model = loaded
    save_model(model, tmp_path / "model.safetensors")
    checkpoint, images = ["--checkpoint", str(tmp_path / "model.safetensors")], str(shapes_root / "val")
    assert (
        main(["predict", *checkpoint, "--precision", "fp32", "--input", images, "--output", str(tmp_path / "seen")])
        == 0
    )
    export = ["export", *checkpoint, "--format", form, "--precision", "int8", "--calibration", images]
    guard = ["--guard", str(tmp_path / "seen" / "predictions.json"), "--images", images]
    assert main([*export, "--output", str(tmp_path / "out"), *guard, "--most-pq-loss", "100"]) == 0
    measured = read_manifest(tmp_path / "out").measured
    assert measured["pq_fp32"] > 95  # of its own predictions
    assert 5 < measured["pq_int8"] < 100
    assert measured["in_float"] == []
    assert read_manifest(tmp_path / "out").cpu == processor_kind()
    assert "in fp32, on 3 images" in capsys.readouterr().out
    (tmp_path / "out" / "model.json").write_text(
        (tmp_path / "out" / "model.json").read_text(encoding="utf-8").replace(processor_kind(), "another"),
        encoding="utf-8",
    )
    with pytest.warns(UserWarning, match="was measured on another; this is"):
        ExportedModel(tmp_path / "out")

    for wrong, said in (
        (["--precision", "int8"], "needs --calibration"),
        (["--calibration", images], "for int8, not for fp32"),
        (["--precision", "int8", "--calibration", images, "--format", "torch"], "for the formats onnx and openvino"),
        (["--precision", "int8", "--calibration", images, "--guard", "x.json"], "belong together"),
        (["--precision", "int8", "--calibration", images, "--size", "32x32"], "Calibrate on images of that size"),
    ):
        assert main(["export", *checkpoint, "--output", str(tmp_path / "none"), *wrong]) != 0
        assert said in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "none").exists()
