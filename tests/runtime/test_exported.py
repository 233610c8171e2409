"""An exported folder predicts; foreign, damaged and hostile ones end in a sentence before anything of them runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from panoptic_blend.errors import CheckpointError, ConfigError, DatasetError
from panoptic_blend.runtime.engines import OpenVINO
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import MANIFEST, read_manifest
from panoptic_blend.structures import Segment
from tests.runtime.graphs import STUFF, seal, store_outside, stuff_graph, write_export, write_stages


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(params=["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    pytest.importorskip(request.param)
    if request.param == "openvino":
        return write_stages(tmp_path / "exported")
    return write_export(tmp_path / "exported", stuff_graph())


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 53)])
def test_images_of_any_size_are_predicted(folder: Path, size: tuple[int, int]) -> None:
    model = ExportedModel(folder)
    (found,) = model.predict([picture(*size)])
    assert found.id_map.dtype == np.int32
    assert (found.id_map == 7).all()
    assert found.id_map.shape == size
    assert found.segments == [Segment(7, STUFF.id, False, pytest.approx(0.55), 1)]


def test_views_of_arrays_are_predicted(folder: Path) -> None:
    (found,) = ExportedModel(folder).predict([picture(8, 6)[::-1, ::2]])
    assert found.id_map.shape == (8, 3)


def test_a_setting_that_the_graph_takes_can_be_changed(tmp_path: Path) -> None:
    model = ExportedModel(write_export(tmp_path / "exported", stuff_graph()))
    model.settings.min_score = 0.25
    assert model.predict([picture(2, 2)])[0].segments[0].score == 0.75


def test_other_settings_are_refused(tmp_path: Path) -> None:
    model = ExportedModel(write_export(tmp_path / "exported", stuff_graph()))
    model.settings.nms_iou = 0.5
    with pytest.raises(ConfigError, match=r"model\.fcos\.nms_iou is 0\.5, but .* only model\.merge\.min_score can be"):
        model.predict([picture(2, 2)])
    model.settings.nms_iou = 7
    with pytest.raises(ConfigError, match="nms_iou is 7; it must be"):
        model.predict([picture(2, 2)])


def test_one_size_takes_no_other(tmp_path: Path) -> None:
    graph = stuff_graph()
    for axis, side in enumerate((20, 30)):
        graph.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = side
    model = ExportedModel(write_export(tmp_path / "exported", graph, (20, 30)))
    assert model.predict([picture(20, 30)])[0].id_map.shape == (20, 30)
    with pytest.raises(DatasetError, match=r"image 20 x 30: .* images of 30 x 20 alone"):
        model.predict([picture(30, 20)])


def foreign_operator() -> onnx.ModelProto:
    model = stuff_graph()
    model.graph.node.append(helper.make_node("Anything", ["image"], ["other"], domain="evil.example"))
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    return model


def foreign_operator_in_a_function() -> onnx.ModelProto:
    model = stuff_graph()
    node = helper.make_node("Anything", ["x"], ["y"], domain="evil.example")
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("evil.example", 1)]
    model.functions.append(helper.make_function("mine", "Wrapped", ["x"], ["y"], [node], opset))
    return model


def operator_without_implementation() -> onnx.ModelProto:
    model = stuff_graph()
    model.graph.node.append(helper.make_node("Cast", ["min_score"], ["short"], to=TensorProto.BFLOAT16))
    model.graph.node.append(helper.make_node("Atan", ["short"], ["angle"]))
    model.graph.output.append(helper.make_tensor_value_info("angle", TensorProto.BFLOAT16, []))
    model.opset_import[0].version = 22
    return model


def renamed(kind: str, old: str, new: str) -> onnx.ModelProto:
    model = stuff_graph()
    value = next(each for each in getattr(model.graph, kind) if each.name == old)
    value.name = new
    for node in model.graph.node:
        names = node.input if kind == "input" else node.output
        for place, name in enumerate(names):
            if name == old:
                names[place] = new
    for tensor in model.graph.initializer:
        if kind == "input" and tensor.name == old:
            tensor.name = new
    return model


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto | bytes], str]] = {
    "empty": (lambda: b"", "no complete ONNX file"),
    "text": (lambda: b"<html>404 not found</html>", "no complete ONNX file"),
    "zeros": (lambda: bytes(1000), "onnxruntime .* cannot open it"),
    "truncated": (lambda: stuff_graph().SerializeToString()[:-20], "no complete ONNX file"),
    "no graph": (lambda: onnx.ModelProto(ir_version=10).SerializeToString(), "cannot open it"),
    "nested without end": (lambda: _nested(), "messages deep"),
    "weights above": (
        lambda: store_outside(stuff_graph(), "../secret.bin"),
        "keeps weights in another file, '../secret.bin'",
    ),
    "weights absolute": (lambda: store_outside(stuff_graph(), "/etc/passwd"), "in another file, '/etc/passwd'"),
    "weights beside it": (lambda: store_outside(stuff_graph(), "model.json"), "in another file, 'model.json'"),
    "weights unnamed": (lambda: store_outside(stuff_graph(), ""), "in another file, ''"),
    "weights in a branch": (
        lambda: store_outside(stuff_graph(), "../secret.bin", ["then_branch", "else_branch"]),
        "in another file, '../secret.bin'",
    ),
    "foreign operator": (foreign_operator, "uses operators of 'evil.example'"),
    "operator that the runtime lacks": (
        operator_without_implementation,
        r"needs the operator Atan, which onnxruntime \S+ does not have",
    ),
    "foreign operator in a function": (foreign_operator_in_a_function, "uses operators of 'evil.example'"),
    "other input": (lambda: renamed("input", "image", "picture"), "has no input 'image', but picture"),
    "surplus input": (lambda: renamed("input", "min_score", "speed"), "has an input 'speed'"),
    "four channels": (
        lambda: stuff_graph(channels=4),
        r"its input 'image' is uint8 \[\?, \?, 4\], not uint8 \[H, W, 3\]",
    ),
    "other output": (lambda: renamed("output", "scores", "points"), "has no output 'scores', but id_map"),
    "other type": (lambda: stuff_graph(map_type=TensorProto.INT64), r"its output 'id_map' is int64"),
}


def _nested() -> bytes:
    message = b""
    for _ in range(200):
        for number in (6, 5, 1):  # a graph in an attribute of a node
            message = bytes([number << 3 | 2]) + _length(message) + message
    return bytes([7 << 3 | 2]) + _length(message) + message


def _length(message: bytes) -> bytes:
    rest, found = len(message), []
    while rest > 127:
        found.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*found, rest])


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_foreign_damaged_or_hostile_ends_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, sentence = HOSTILE[name]
    folder = write_export(tmp_path / "exported", make())
    (tmp_path / "secret.bin").write_bytes(bytes(4))
    with pytest.raises(CheckpointError, match=sentence) as caught:
        ExportedModel(folder)
    assert str(folder / "model.onnx") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.slow
def test_openvino_s_files_are_run_and_no_others_beside_them(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    folder = write_stages(tmp_path / "exported")
    whole = {key: file.name for key, file in read_manifest(folder).files.items()}

    def refusal(**files: str | None) -> str:
        seal(folder, {key: name for key, name in {**whole, **files}.items() if name})
        with pytest.raises(CheckpointError) as refused:
            ExportedModel(folder)
        return str(refused.value)

    assert "for OpenVINO it must name before, model, weights and after" in refusal(weights=None)
    assert "for OpenVINO it must name" in refusal(after=None)
    assert "before.onnx: OpenVINO runs an .xml file" in refusal(model="before.onnx")
    assert "network.xml: onnxruntime runs an .onnx file" in refusal(before="network.xml")
    assert "does not fit what stands before it: id_map" in refusal(before="after.onnx")
    assert "does not fit what stands after it: brightest is handed on, none is expected" in refusal(after="before.onnx")
    (folder / "network.bin").write_bytes(b"")
    assert re.search(r"network\.xml: OpenVINO .* cannot open it", refusal())


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_threads_leave_the_map_as_it_is(folder: Path, threads: int | None) -> None:
    (found,) = ExportedModel(folder, threads).predict([picture(5, 4)])
    assert (found.id_map == 7).all()


def test_every_byte_may_be_hostile(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "exported", stuff_graph())
    whole = (folder / "model.onnx").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(0, 256)
        (folder / "model.onnx").write_bytes(damaged)
        seal(folder, {"model": "model.onnx"})  # else it would not be read at all
        with suppress(CheckpointError):
            ExportedModel(folder).predict([picture(3, 4)])


@pytest.mark.parametrize(
    ("row", "score"),
    [
        ([7, 999, 0, 1, 0, 0, 1, 1], 1),
        ([7, STUFF.id, 1, 1, 0, 0, 1, 1], 1),
        ([0, STUFF.id, 0, 1, 0, 0, 1, 1], 1),
        ([7, STUFF.id, 0, 1, 0, 0, 1, 1], float("nan")),
    ],
)
def test_segments_that_cannot_be_are_refused(row: list[int], score: float, tmp_path: Path) -> None:
    graph = stuff_graph()
    for tensor in graph.graph.initializer:
        if tensor.name == "row":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([row], np.int32), "row"))
        if tensor.name == "one":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(score + 0.45, np.float32), "one"))
    with pytest.raises(CheckpointError, match="a segment that cannot be"):
        ExportedModel(write_export(tmp_path / "exported", graph)).predict([picture(2, 2)])


def test_wrong_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"segments \[1, 5\]"):
        ExportedModel(write_export(tmp_path / "exported", stuff_graph(columns=5))).predict([picture(2, 2)])


def test_a_torch_program_is_not_run(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "exported", stuff_graph())
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(content | {"runtime": "torch"}))
    with pytest.raises(CheckpointError, match="is the network alone"):
        ExportedModel(folder)


def test_torch_and_what_a_runtime_does_not_need_are_never_imported(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "exported", stuff_graph())
    program = f"""
import sys
for name in ("torch", "torchvision", "lightning", "onnx", "safetensors", "tensorboard", "matplotlib", "jsonargparse"):
    sys.modules[name] = None  # an import of it raises
import numpy as np
from panoptic_blend.runtime.exported import ExportedModel
print(ExportedModel({str(folder)!r}).predict([np.zeros((4, 5, 3), np.uint8)])[0].id_map.sum())
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["140"]


@pytest.mark.slow
def test_threads_that_share_a_network_of_openvino_get_their_own_results(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    folder = write_stages(tmp_path / "exported")
    network = OpenVINO(folder / "network.xml", folder / "network.bin", 1)
    images = np.random.default_rng(0).random((64, 200, 300, 3), dtype=np.float32)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda image: network.run({"images": image})["brightest"], images))
    assert all((brightest == image.max(axis=2)).all() for brightest, image in zip(found, images, strict=True))


WRITTEN_OVER = """
import sys
from pathlib import Path
import numpy as np
from panoptic_blend.runtime.engines import OpenVINO
folder = Path(sys.argv[1])
network = OpenVINO(folder / "network.xml", folder / "network.bin", 1)
(folder / "network.bin").write_bytes(b"")
assert (network.run({"images": np.ones((1000, 1000), np.float32)})["sums"] == 2).all()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be written over")
def test_a_network_of_openvino_whose_file_is_written_over_goes_on(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    images, sums = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1000, 1000]) for name in ("images", "sums"))
    ones = numpy_helper.from_array(np.ones((1000, 1000), np.float32), "ones")
    graph = helper.make_graph([helper.make_node("Add", ["images", "ones"], ["sums"])], "add", [images], [sums], [ones])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    openvino.save_model(openvino.Core().read_model(model.SerializeToString()), tmp_path / "network.xml", False)
    # By itself: what is mapped into memory, and gone, ends a process.
    assert subprocess.run([sys.executable, "-c", WRITTEN_OVER, str(tmp_path)]).returncode == 0
