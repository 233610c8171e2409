"""Exported folders: what is written, and what is refused."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import panoptic_blend
from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.cli import main
from panoptic_blend.errors import CheckpointError, ConfigError
from panoptic_blend.exporting import export
from panoptic_blend.exporting.export import export_model
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.files.images import read_rgb
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import read_manifest
from panoptic_blend.structures import PanopticMap
from tests.exporting.test_graph import lively_model, picture


@pytest.fixture(scope="module")
def model() -> PanopticBlend:
    return lively_model()


def test_the_command_writes_a_folder_that_describes_itself(model: PanopticBlend, tmp_path: Path, capsys):
    save_model(model, tmp_path / "model.safetensors")
    arguments = ["--checkpoint", str(tmp_path / "model.safetensors"), "--output", str(tmp_path / "out")]
    assert main(["export", *arguments, "--size", "40x60", "--model.merge.min_score", "0.69"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "model.onnx" in said
    assert "equal pixels" in said
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.runtime, manifest.precision, manifest.input.size) == ("onnxruntime", "fp32", (40, 60))
    assert manifest.settings.min_score == 0.69
    assert manifest.categories == model.categories
    assert manifest.measured["equal_pixels_percent"] > 99
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "model.json", "model.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    assert session.get_inputs()[0].shape == [40, 60, 3]
    (id_map,) = session.run(["id_map"], {"image": np.zeros((40, 60, 3), np.uint8)})
    assert id_map.shape == (40, 60)


@pytest.mark.parametrize("form", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_lines_of_its_readme_run_it(form: str, model: PanopticBlend, tmp_path: Path):
    pytest.importorskip(form)
    export_model(model, tmp_path / "out", ExportSettings(format=form))  # type: ignore[arg-type]
    orientation = Image.Exif()
    orientation[0x0112] = 6  # as cameras write that are held upright
    Image.fromarray(picture(40, 60)).save(tmp_path / "out" / "picture.jpg", quality=95, exif=orientation)
    block = code_blocks(tmp_path / "out")[0]
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (expected,) = ExportedModel(tmp_path / "out").predict([read_rgb(tmp_path / "out" / "picture.jpg")])
    lines = [f"{each.id} {each.category_id} {round(each.score, 3)}" for each in expected.segments]
    assert done.stdout.split("\n")[:-1] == lines


def test_the_readme_s_c_plus_plus_says_the_same(model: PanopticBlend, tmp_path: Path):
    """With onnxruntime's headers and library, found by pkg-config: PKG_CONFIG_PATH, LD_LIBRARY_PATH."""
    if shutil.which("g++") is None or shutil.which("pkg-config") is None:
        pytest.skip("needs g++ and pkg-config")
    if subprocess.run(["pkg-config", "--exists", "libonnxruntime"]).returncode:
        pytest.skip("needs onnxruntime's headers and library, such as Debian's libonnxruntime-dev")
    folder = tmp_path / "out"
    export_model(model, folder, ExportSettings())
    Image.fromarray(picture(40, 60)).save(folder / "picture.ppm")
    (block,) = [each for each in code_blocks(folder) if "#include" in each]
    (folder / "main.cpp").write_text(block, encoding="utf-8")
    compile_line = block.splitlines()[0].removeprefix("// ")
    built = subprocess.run(compile_line, shell=True, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(folder / "main")], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (expected,) = ExportedModel(folder).predict([picture(40, 60)])
    assert done.stdout.splitlines() == [f"{each.id} {each.category_id} {each.score:.3f}" for each in expected.segments]


def test_the_readme_s_javascript_says_the_same(model: PanopticBlend, tmp_path: Path):
    """With node's packages onnxruntime-node and sharp where node looks for them: NODE_PATH."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    for package in ("onnxruntime-node", "sharp"):
        if subprocess.run(["node", "-e", f"require('{package}')"], capture_output=True).returncode:
            pytest.skip(f"needs node's package {package}: npm install {package}, and NODE_PATH to where it is")
    folder = tmp_path / "out"
    export_model(model, folder, ExportSettings())
    # Decoders of JPEG may differ by a level; what a file holds is told by its bytes, not by its name.
    Image.fromarray(picture(40, 60)).save(folder / "picture.jpg", format="PNG")
    (block,) = [each for each in code_blocks(folder) if "require(" in each]
    done = subprocess.run(["node", "-e", block], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (expected,) = ExportedModel(folder).predict([picture(40, 60)])
    assert expected.segments
    assert done.stdout.splitlines() == [f"{each.id} {each.category_id} {each.score:.3f}" for each in expected.segments]


def code_blocks(folder: Path) -> list[str]:
    """The indented blocks of a folder's README.md, with the empty lines within."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)]


def test_a_torch_program_gives_what_the_network_gives(model: PanopticBlend, tmp_path: Path):
    manifest = export_model(model, tmp_path / "out", ExportSettings(format="torch"))
    assert manifest.runtime == "torch"
    network = torch.export.load(tmp_path / "out" / "model.pt2").module()
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        expected = model.network(images)
        found = network(images)
    assert expected.detector is not None
    torch.testing.assert_close(found[0], expected.detector.class_logits[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[-1], expected.semantic, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_lines_of_a_program_s_readme_run_it(precision: str, model: PanopticBlend, tmp_path: Path):
    settings = ExportSettings(format="torch", precision=precision, size=(40, 60))  # type: ignore[arg-type]
    export_model(model, tmp_path / "out", settings)
    (block,) = code_blocks(tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_program_that_overflows_is_not_written(model: PanopticBlend, tmp_path: Path):
    loud = copy.deepcopy(model)
    assert loud.network.head is not None
    with torch.no_grad():
        loud.network.head.class_logits.weight.mul_(1e6)
    with pytest.raises(CheckpointError, match="numbers without end"):
        export_model(loud, tmp_path / "out", ExportSettings(format="torch", precision="fp16"))
    assert not list(tmp_path.iterdir())


def test_category_ids_that_do_not_fit_are_told(tmp_path: Path):
    large = Categories([Category(2**31, "sky", False, (0, 0, 255)), Category(1, "car", True, (255, 0, 0))])
    with pytest.raises(CheckpointError, match="ids up to 2147483648"):
        export_model(lively_model(large), tmp_path / "out", ExportSettings())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--most-pq-loss", "nan"], "no number of 0 or more"),
        (["--most-pq-loss", "-1"], "no number of 0 or more"),
        (["--most-pq-loss", "1"], "needs --guard"),
    ],
)
def test_a_bound_that_nothing_is_held_to_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert main(["export", "--checkpoint", "x.safetensors", "--output", "out", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("form", ["onnx", "torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_files_tell_nothing_of_the_machine_they_were_made_on(form: str, model: PanopticBlend, tmp_path: Path):
    # Paths have the names of people in them; torch writes those of its callers beside every operator.
    pytest.importorskip(form)
    export_model(model, tmp_path / "out", ExportSettings(format=form))  # type: ignore[arg-type]
    places = [Path(panoptic_blend.__file__).parents[1], Path(torch.__file__).parents[1], tmp_path]
    for file in (tmp_path / "out").iterdir():
        found = [str(place) for place in places if os.fsencode(place) in file.read_bytes()]
        assert not found, file.name


def test_what_gives_other_maps_is_not_written(model: PanopticBlend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def nothing(self: ExportedModel, images: list[np.ndarray]) -> list[PanopticMap]:
        return [PanopticMap(np.zeros(image.shape[:2], np.int32), []) for image in images]

    monkeypatch.setattr(ExportedModel, "predict", nothing)
    with pytest.raises(CheckpointError, match="does not see what the model sees"):
        export_model(model, tmp_path / "out", ExportSettings(size=(32, 32)))
    assert not list(tmp_path.iterdir())


def test_an_old_torch_is_refused_in_a_sentence(model: PanopticBlend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export.torch, "__version__", "2.6.0+cpu")
    with pytest.raises(ConfigError, match=r"needs torch 2\.9 or newer, this is 2\.6\.0"):
        export_model(model, tmp_path / "out", ExportSettings())


def test_a_folder_in_use_is_left_alone(model: PanopticBlend, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there already"):
        export_model(model, tmp_path, ExportSettings())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_wrong_size_is_refused_before_anything_is_read(tmp_path: Path, capsys):
    assert main(["export", "--checkpoint", "x", "--output", str(tmp_path / "out"), "--size", "40"]) == 2
    assert "give height x width" in capsys.readouterr().err
