"""Every runtime predicts the same picture, and the table says how they compare."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import runtimes
from benchmarks.surroundings import open_surroundings


def test_ratios_are_of_medians_and_of_single_rounds() -> None:
    seconds = {
        "fp32": {"input": [0.1, 0.1, 0.1], "whole": [2.0, 3.0, 4.0]},
        "onnxruntime fp32": {"whole": [1.0, 2.0, 1.0]},
    }
    lines = runtimes.table(seconds, {"fp32": 7, "onnxruntime fp32": 6}, {"fp32": 900, "onnxruntime fp32": 400})
    assert lines[2] == "| fp32 | 3000 | 1.00 (1.00 to 1.00) | 100 | - | - | 7 | 900 |"
    assert lines[3] == "| onnxruntime fp32 | 1000 | 3.00 (1.50 to 4.00) | - | - | - | 6 | 400 |"


def test_what_cannot_run_here_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == "transformers" else object())
    left_out = runtimes.missing(["fp32", "EoMT-S", "onnxruntime fp32"], (64, 64))
    assert left_out == {"EoMT-S": "transformers is not installed. Run `pip install transformers`."}
    monkeypatch.setattr(runtimes, "find_spec", lambda name: object())
    assert "square" in runtimes.missing(["EoMT-S", "Mask2Former R-50"], (64, 96))["EoMT-S"]


def test_what_stands_around_the_network_runs_without_it(tmp_path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [256, 256], np.ones(256 * 256, np.float32))
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], name="node_1", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["cast", "w"], ["first"], name="network.node_mm_1"),
        helper.make_node("MatMul", ["first", "w"], ["second"], name="network.node_mm_2"),
        helper.make_node("ReduceMax", ["second"], ["out"], name="node_2", keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [64, 256, 256])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [])],
        [weight],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    picture = np.zeros((64, 256, 256), np.uint8)
    picture[0, 0, 0] = 3
    around = open_surroundings(path, picture, threads=1)
    (images,), (largest,) = around["input"](), around["rest"]()
    np.testing.assert_array_equal(images, picture.astype(np.float32))
    assert largest == 3 * 256


@pytest.mark.slow
def test_a_tiny_model_goes_through_every_runtime(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ways = ["fp32", "torch as commonly run", "onnxruntime fp32", "onnxruntime int8"]
    arguments = ["--config", "shapes/r18.yaml", "--size", "64x96", "--instances", "5", "--rounds", "1"]
    runtimes.main([*arguments, "--threads", "1", "--folder", str(tmp_path), "--ways", *ways])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if re.match(r"\| \w", line)]
    assert [row[0].removeprefix("| ") for row in rows] == ways
    for row in rows:
        whole, parts = float(row[1]), [float(each) for each in row[3:6]]
        assert sum(parts) == pytest.approx(whole, abs=2)
    segments = [int(row[6]) for row in rows]
    assert segments[0] == segments[1] == segments[2] > 0
