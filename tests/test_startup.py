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


def test_predicting_does_not_import_the_compiler(tmp_path: Path) -> None:
    config = talkative_model_config()
    config.fpn = FPNConfig(channels=128, coarsest_level=5)  # wide enough for tiles
    save_model(build_model(config, SHAPES), tmp_path / "model.safetensors")
    program = f"""
import sys
import torch
import panoptic_blend as pb
model = pb.load({str(tmp_path / "model.safetensors")!r})
for precision in "fp32", "bf16":
    prediction = pb.Predictor(model, precision=precision)(torch.zeros(3, 64, 128, dtype=torch.uint8))
prediction.overlay()
print("torchvision" in sys.modules, "torch._dynamo" in sys.modules)
"""
    assert run(program).split() == ["True", "False"]


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
