"""Each test needs an interpreter that has imported nothing yet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.config import FPNConfig
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import talkative_model_config


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = talkative_model_config()
    config.fpn = FPNConfig(channels=128, coarsest_level=5)  # wide enough for tiles
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_model(build_model(config, SHAPES), path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        "predict --input {root}/val --output {out} --precision fp32 --overlays",
        "predict --input {root}/val --output {out} --precision bf16",
        "evaluate --images {root}/val --annotations {root}/annotations/panoptic_val.json --output {out}",
        "explain --input {root}/val/val_000001.jpg --output {out}",
    ],
)
def test_commands_that_predict_do_not_import_the_compiler(
    command: str, checkpoint: Path, shapes_root: Path, tmp_path: Path
) -> None:
    words = [word.format(root=shapes_root, out=tmp_path / "out") for word in command.split()]
    program = f"""
import sys
from panoptic_blend.cli import main
code = main({[*words, "--checkpoint", str(checkpoint), "--model.input.shortest_edge", "64"]!r})
print(code, "torchvision" in sys.modules, "torch._dynamo" in sys.modules)
"""
    assert run(program).split()[-3:] == ["0", "True", "False"]


def test_other_people_s_programs_find_torch_as_torchvision_leaves_it(checkpoint: Path) -> None:
    program = f"""
import gc, sys
import panoptic_blend as pb
pb.Predictor(pb.load({str(checkpoint)!r}))
import torch._dynamo.utils as compiler
print(sys.modules["torchvision.ops.roi_align"].is_compile_supported is compiler.is_compile_supported)
print(gc.get_freeze_count())
"""
    assert run(program).split() == ["True", "0"]


@pytest.mark.parametrize("first", ["", "import torch._dynamo", "import torchvision"])
def test_the_compiler_is_there_when_it_is_used(first: str) -> None:
    program = f"""
{first}
from panoptic_blend.startup import import_torchvision
import_torchvision()
import sys, types, torch
print(sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu"))
from torch._dynamo.utils import is_compile_supported
assert type(sys.modules["torch._dynamo.utils"]) is types.ModuleType
print(is_compile_supported("cpu"))
print(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item())
"""
    deferred, real, compiled = run(program).split()
    assert deferred == real
    assert compiled == "2.0"


def test_another_torchvision_may_import_anything_from_the_compiler() -> None:
    program = """
import sys
from panoptic_blend import startup
stand_in = sys.modules[startup._COMPILER] = startup._CompilerLater(startup._COMPILER)
from torch._dynamo.utils import is_compile_supported, counters
import torch._dynamo.utils as real
print(real is not stand_in, counters is real.counters)
"""
    assert run(program).split() == ["True", "True"]


@pytest.mark.parametrize(("first", "stays"), [("", True), ("import torch", False)])
def test_only_a_program_without_torch_is_taken_for_our_own(first: str, stays: bool) -> None:
    program = f"""
import gc
{first}
from panoptic_blend.startup import start_torch
start_torch()
import sys
print("torchvision" in sys.modules, gc.get_freeze_count() > 100_000, gc.isenabled())
"""
    assert run(program).split() == [str(stays), str(stays), "True"]


@pytest.mark.parametrize("command", ["train", "demo", "compare"])
@pytest.mark.parametrize(("own", "expected"), [("", "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_a_training_command_sleep_while_they_wait(command: str, own: str, expected: str) -> None:
    program = f"""
import os, sys
os.environ.pop("OMP_WAIT_POLICY", None)
if {own!r}:
    os.environ["OMP_WAIT_POLICY"] = {own!r}
from panoptic_blend.cli import main
main([{command!r}, "--config", "none.yaml"] if {command!r} != "compare" else ["compare", "none.yaml"])
print("torch" in sys.modules, os.environ["OMP_WAIT_POLICY"])
"""
    assert run(program).split() == ["False", expected]
