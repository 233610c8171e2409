"""`model.json` comes back as it was written; whatever else stands in it ends in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from panoptic_blend.config import ModelConfig, PredictionSettings
from panoptic_blend.errors import CheckpointError
from panoptic_blend.runtime.manifest import MANIFEST, ImageInput, Manifest, is_export, read_manifest, write_manifest
from panoptic_blend.runtime.model_files import describe_files
from panoptic_blend.synthetic.scene import SHAPES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "exported"
    (folder / "parts").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"")
    (folder / "parts" / "weights.bin").write_bytes(b"1234")
    return folder


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    config = ModelConfig()
    manifest = Manifest(
        runtime="onnxruntime",
        precision="int8",
        files=describe_files(folder, {"model": "model.onnx", "weights": "parts/weights.bin"}),
        categories=SHAPES,
        input=ImageInput((1.5, 2, 3), (1, 1, 0.5), "BGR", 32, (480, 640)),
        settings=replace(PredictionSettings.of(config), min_score=0.25),
        config=config,
        made_with={"panoptic_blend": "0.1.0", "onnx": "1.23"},
        measured={"PQ": 51.5, "layers": ["a", "b"]},
        cpu="AVX2",
    )
    write_manifest(manifest, folder)
    return manifest


pytestmark = pytest.mark.usefixtures("manifest")


def test_what_is_written_is_read(manifest: Manifest, folder: Path, tmp_path: Path) -> None:
    assert is_export(folder)
    assert not is_export(tmp_path)
    assert read_manifest(folder) == manifest
    write_manifest(replace(manifest, input=replace(manifest.input, size=None), cpu=None), folder)
    assert read_manifest(folder).input.size is None


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (["format"], "other", "'format' is 'other'"),
        (["version"], 3, "Install a newer panoptic-blend"),
        (["version"], 1, "has no hashes to check its files by. Export the model again"),
        (["version"], 0, "'version' must be a number"),
        (["version"], True, "'version' must be a number"),
        (["runtime"], "tensorrt", "'runtime' must be one of onnxruntime, openvino, torch"),
        (["runtime"], ["onnxruntime"], "'runtime' must be one of"),
        (["precision"], None, "'precision' must be one of"),
        (["cpu"], 5, "'cpu' must be text or null"),
        (["made_with"], {"onnx": 1}, "'made_with' must hold versions"),
        (["measured"], [], "'measured' must be an object, found list"),
        (["files"], {}, "'files' must name a 'model'"),
        (["files", "model"], "model.onnx", "files.model: must hold name, size and sha256, found 'model.onnx'"),
        (["files", "model", "more"], 1, "files.model: must hold name, size and sha256"),
        (["files", "model", "size"], -1, "files.model: 'size' must be a number of bytes, found -1"),
        (["files", "model", "size"], True, "files.model: 'size' must be a number of bytes, found True"),
        (["files", "model", "sha256"], "0" * 63, "files.model: 'sha256' must be 64 digits"),
        (["files", "model", "sha256"], "A" * 64, "files.model: 'sha256' must be 64 digits"),
        (["files", "model", "sha256"], None, "files.model: 'sha256' must be 64 digits"),
        (["files", "model", "name"], 3, "files.model: 3 is not the name of a file"),
        (["files", "model", "name"], "../model.onnx", "files.model: '../model.onnx' is not the name of a file in its"),
        (["files", "model", "name"], "parts\\..\\..\\x", "is not the name of a file in its folder"),
        (["files", "model", "name"], "/etc/passwd", "is not the name of a file in its folder"),
        (["files", "model", "name"], "C:\\model.onnx", "is not the name of a file in its folder"),
        (["files", "model", "name"], "a\0b", "is not the name of a file in its folder"),
        (["files", "model", "name"], "absent.onnx", "no such file"),
        (["files", "model", "name"], "parts", "is no file"),
        (["categories"], [], "no categories"),
        (["categories", 0, "isthing"], 7, "'isthing' must be 0 or 1"),
        (["input"], None, "'input' must be an object"),
        (["input", "pixel_mean"], [1, 2], "'input' must hold pixel_mean"),
        (["input", "pixel_std"], [1, 2, 0], "'input' must hold pixel_mean"),
        (["input", "pixel_std"], [1, 2, float("nan")], "'input' must hold pixel_mean"),
        (["input", "size"], [0, 5], "'input' must hold pixel_mean"),
        (["settings", "min_score"], "0.5", "settings.min_score must be float"),
        (["settings", "min_score"], 1.5, "min_score is 1.5; it must be"),
        (["settings", "min_score"], float("nan"), "min_score is nan; it must be"),
        (["settings", "min_stuff_area"], 1.0, "settings.min_stuff_area must be int"),
        (["settings", "other"], 1, "settings.other is not a setting of predictions"),
        (["config", "other"], 1, "config.other is not a setting"),
        (["config"], 1, "config: expected an object"),
    ],
)
def test_every_wrong_value_is_named(folder: Path, place: list[Any], value: object, sentence: str) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError) as caught:
        read_manifest(folder)
    assert sentence in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("key", ["format", "version", "runtime", "files", "categories", "input", "settings", "config"])
def test_what_is_missing_is_named(folder: Path, key: str) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    del content[key]
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=key):
        read_manifest(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"format": "\\ud800"}'])
def test_damaged_json_ends_in_a_sentence(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        read_manifest(folder)


def test_links_may_stay_in_the_folder_and_not_leave_it(folder: Path, tmp_path: Path) -> None:
    model = folder / "model.onnx"
    model.rename(folder / "parts" / "model.onnx")
    model.symlink_to(Path("parts") / "model.onnx")
    read_manifest(folder)
    outside = tmp_path / "model.onnx"
    outside.write_bytes(b"")
    model.unlink()
    model.symlink_to(outside)
    with pytest.raises(CheckpointError, match="is a link out of its folder"):
        read_manifest(folder)
    model.unlink()
    model.symlink_to(model)
    with pytest.raises(CheckpointError, match="no such file"):
        read_manifest(folder)
