"""Files that are not those that were exported are refused before a runtime reads them, whatever they hold."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from panoptic_blend.errors import CheckpointError
from panoptic_blend.runtime import sessions
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import read_manifest
from panoptic_blend.runtime.model_files import ModelFile, describe_files
from tests.runtime.graphs import STUFF, declare_openvino, stuff_graph, write_export, write_stages

OPENVINO = ("before.onnx", "network.xml", "network.bin", "after.onnx")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """One of each format, whose files no runtime is asked to read."""

    def read(*arguments: object) -> None:
        pytest.fail("a runtime was given a file that was not exported")

    for reader in ("check_onnx", "OnnxRuntime", "OpenVINO"):
        monkeypatch.setattr(sessions, reader, read)
    onnx = write_export(tmp_path / "onnx", stuff_graph())
    openvino = write_export(tmp_path / "openvino", stuff_graph())
    for name in OPENVINO:
        (openvino / name).write_bytes(name.encode() * 100)
    declare_openvino(openvino)
    return {"onnx": onnx, "openvino": openvino}


FILES = [("onnx", "model.onnx"), *(("openvino", name) for name in OPENVINO)]


def flip(place: float) -> Callable[[bytes], bytes]:
    """Changes one bit at a share of the file's length."""

    def change(content: bytes) -> bytes:
        index = round(place * (len(content) - 1))
        return content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]

    return change


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", r"has 0 bytes, but \d+ were exported"),
    "truncated": (lambda content: content[:-1], r"has \d+ bytes, but \d+ were exported"),
    "longer": (lambda content: content + b"\0", r"has \d+ bytes, but \d+ were exported"),
    "first bit": (flip(0), "is not what was exported: its SHA-256 is"),
    "a bit in between": (flip(0.5), "is not what was exported: its SHA-256 is"),
    "last bit": (flip(1), "is not what was exported: its SHA-256 is"),
    "foreign": (lambda content: bytes(len(content)), "is not what was exported: its SHA-256 is"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("form", "name"), FILES)
def test_damaged_files_are_refused_by_name_and_with_what_to_do(
    form: str, name: str, damage: str, folders: dict[str, Path]
) -> None:
    change, sentence = DAMAGE[damage]
    path = folders[form] / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=sentence) as refused:
        ExportedModel(folders[form])
    assert str(refused.value).startswith(f"{path}: ")
    assert "export the model again" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("form", "name"), FILES)
def test_missing_files_are_refused(form: str, name: str, folders: dict[str, Path]) -> None:
    path = folders[form] / name
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no such file, but .* names it\. Copy the whole folder") as refused:
        ExportedModel(folders[form])
    assert str(refused.value).startswith(f"{path}: ")


def test_the_model_of_another_folder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    other = stuff_graph()
    other.doc_string = "another"
    write_export(tmp_path / "other", other)
    (tmp_path / "other" / "model.onnx").replace(folders["onnx"] / "model.onnx")
    with pytest.raises(CheckpointError, match=r"model\.onnx: has \d+ bytes, but"):
        ExportedModel(folders["onnx"])


def test_a_file_is_described_by_its_bytes(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(2**20 + 5)  # more than is read at once
    (tmp_path / "a").write_bytes(content)
    expected = ModelFile("a", len(content), hashlib.sha256(content).hexdigest())
    assert describe_files(tmp_path, {"model": "a"}) == {"model": expected}
    (tmp_path / "a").write_bytes(b"abc")
    assert describe_files(tmp_path, {"model": "a"})["model"].sha256.startswith("ba7816bf8f01cfea414140de5dae2223")


def test_predictions_of_other_weights_are_known_from_each_other(tmp_path: Path) -> None:
    first = ExportedModel(write_export(tmp_path / "first", stuff_graph())).made_with()
    same = ExportedModel(write_export(tmp_path / "same", stuff_graph())).made_with()
    graph = stuff_graph()
    graph.graph.initializer.append(helper.make_tensor("unused", TensorProto.FLOAT, [1], [1.0]))
    other = ExportedModel(write_export(tmp_path / "other", graph)).made_with()
    assert first == same
    assert first["weights"] != other["weights"]


FUZZ = """
import sys
from pathlib import Path
import numpy as np
from panoptic_blend.errors import CheckpointError
from panoptic_blend.runtime.exported import ExportedModel
folder, names = Path(sys.argv[1]), sys.argv[2:]
whole = {name: (folder / name).read_bytes() for name in names}
random = np.random.default_rng(0)
refused = 0
for turn in range(300):
    name = names[turn % len(names)]
    damaged = bytearray(whole[name])
    for place in random.integers(0, len(damaged), random.integers(1, 4)):
        damaged[place] ^= random.integers(1, 256)
    damaged = damaged[: random.integers(0, len(damaged))] if turn % 5 == 0 else damaged
    if bytes(damaged) == whole[name]:
        continue
    (folder / name).write_bytes(damaged)
    try:
        ExportedModel(folder)
    except CheckpointError as error:
        refused += str(error).startswith(str(folder / name))
    else:
        print("opened", name, turn)
    (folder / name).write_bytes(whole[name])
found = ExportedModel(folder).predict([np.zeros((3, 4, 3), np.uint8)])[0]
print(refused, found.segments[0].category_id)
"""
"""In a process of its own: OpenVINO ends that of a reader of damaged files, if they ever get there."""


@pytest.mark.slow
def test_openvino_s_files_may_be_damaged_anywhere(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    folder = write_stages(tmp_path / "exported")
    names = [file.name for file in read_manifest(folder).files.values()]
    assert sorted(names) == sorted(OPENVINO)
    done = subprocess.run([sys.executable, "-c", FUZZ, str(folder), *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["300", str(STUFF.id)]
