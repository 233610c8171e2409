from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.cli import main
from panoptic_blend.config import BackboneConfig, BasesConfig, FPNConfig, ModelConfig
from panoptic_blend.inference import preparation
from panoptic_blend.inference.preparation import Precision, PreparedNetwork, fold_norms, prepare
from panoptic_blend.inference.torch_model import TorchModel
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.network.layers import FrozenBatchNorm
from panoptic_blend.modeling.network.network import NetworkOutput
from panoptic_blend.modeling.network.winograd import PreparedTiledConv, TiledConv, compute_by_tiles
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import MASK_HEADS, tiny_model_config, tiny_model_config_with

CPU = torch.device("cpu")
IMAGE = torch.randint(0, 256, (3, 70, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def layouts() -> dict[str, ModelConfig]:
    tiny = tiny_model_config()
    bottleneck = BackboneConfig(name="resnet50", weights="none", norm="batch", frozen_stages=0, width=8)
    frozen = replace(bottleneck, norm="frozen", deformable_stages=(4,), deformable_interval=2)
    return {
        **{name: tiny_model_config_with(name) for name in MASK_HEADS},
        "wide": replace(tiny, fpn=FPNConfig(channels=128, coarsest_level=5)),
        "deformable": replace(tiny, backbone=frozen),
        "group": replace(tiny, backbone=replace(tiny.backbone, norm="group")),
        "lite": replace(tiny, backbone=BackboneConfig(name="efficientnet_lite0", weights="none")),
        "deeplab": replace(tiny, bases=BasesConfig(kind="deeplab", channels=16)),
        "norm_per_level": replace(tiny, fcos=replace(tiny.fcos, norm="batch", num_shared_convs=1)),
    }


def make_model(config: ModelConfig) -> PanopticBlend:
    """Random weights, biases and norm statistics that let every layer through."""
    torch.manual_seed(0)
    model = build_model(config, SHAPES).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(std=0.1)
        if isinstance(module, (nn.BatchNorm2d, FrozenBatchNorm)):
            for values in (module.weight, module.running_var):
                values.data.uniform_(0.5, 1.5)
            for values in (module.bias, module.running_mean):
                values.data.normal_(std=0.1)
    nn.init.constant_(model.network.head.distances.bias, 2.0)  # type: ignore[union-attr, arg-type]  # boxes of some size
    return model


def tensors(output: NetworkOutput) -> list[Tensor]:
    maps = [*output.pyramid, output.bases, output.semantic]
    return [each for level in output.detector for each in level] + [each for each in maps if each is not None]


@pytest.mark.parametrize("layout", layouts())
@torch.no_grad()
def test_a_prepared_network_computes_the_same(layout: str) -> None:
    model = make_model(layouts()[layout])
    batch = model.input_rule([IMAGE])
    expected = tensors(model.network(batch))
    exact, half = (prepare(model, CPU, precision).network(batch) for precision in ("fp32", "bf16"))
    for ours, rounded, true in zip(tensors(exact), tensors(half), expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - true).norm() <= 1e-4 * true.norm()  # group norms over a few pixels magnify rounding
        assert rounded.dtype == torch.bfloat16
        assert (rounded.float() - true).norm() <= 0.08 * true.norm()  # some 20 layers, each rounded to 8 bits


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", ["deformable", *MASK_HEADS])
def test_a_prepared_model_predicts(layout: str, precision: str) -> None:
    config = layouts()[layout]
    config.fcos.score_threshold = 0.0
    prepared = prepare(make_model(config), CPU, precision)  # type: ignore[arg-type]
    (prediction,) = prepared.predict([IMAGE], [(40, 50)])
    assert prediction.id_map.shape == (40, 50)
    assert len(prediction.instances) > 0
    assert prediction.instances.boxes.dtype == prediction.instances.mask_patches.dtype == torch.float32


@pytest.mark.parametrize(("precision", "kind"), [("fp32", TiledConv), ("bf16", PreparedTiledConv)])
def test_norms_are_folded_and_wide_convolutions_computed_by_tiles(precision: Precision, kind: type) -> None:
    prepared = prepare(make_model(layouts()["wide"]), CPU, precision)
    assert not any(isinstance(m, (nn.BatchNorm2d, FrozenBatchNorm)) for m in prepared.modules())
    assert any(isinstance(m, kind) for m in prepared.modules())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_without_tiles_every_convolution_is_torch_s_own(precision: torch.dtype) -> None:
    model = make_model(layouts()["wide"])
    compute_by_tiles(model.network)  # as training leaves it
    name: Precision = "fp32" if precision == torch.float32 else "bf16"
    prepared, tiled = prepare(model, CPU, name, tiles=False), prepare(model, CPU, name)
    expected = copy.deepcopy(model.network)
    for module in expected.modules():
        if isinstance(module, TiledConv):
            module.__class__ = nn.Conv2d
    fold_norms(expected)
    expected = expected.to(precision).to(memory_format=torch.channels_last)
    batch = model.input_rule([torch.randint(0, 256, (3, 256, 288), dtype=torch.uint8)])
    expected_output = tensors(expected(batch.to(precision, memory_format=torch.channels_last)))
    for ours, true in zip(tensors(prepared.network(batch)), expected_output, strict=True):
        assert torch.equal(ours, true)
    found = zip(tensors(tiled.network(batch)), expected_output, strict=True)
    assert not all(torch.equal(other, true) for other, true in found)  # or there was nothing to switch off


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        "predict --input {root}/val --output {out}",
        "evaluate --images {root}/val --annotations {root}/annotations/panoptic_val.json --output {out}",
        "benchmark --size 64x64 --rounds 1",
    ],
)
def test_commands_switch_tiles_off(
    command: str, tiled: bool, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[nn.Module] = []
    monkeypatch.setattr(preparation, "compute_by_tiles", networks.append)
    save_model(make_model(tiny_model_config()), tmp_path / "model.safetensors")
    words = [word.format(root=shapes_root, out=tmp_path / "out") for word in command.split()]
    words += ["--checkpoint", str(tmp_path / "model.safetensors"), "--precision", "fp32", "--device", "cpu"]
    assert main(words if tiled else [*words, "--no-tiles"]) == 0
    assert bool(networks) == tiled


def test_a_model_straight_from_training_is_prepared_like_any_other() -> None:
    model = make_model(layouts()["wide"])
    compute_by_tiles(model.network)
    prepared = prepare(model, CPU, "bf16")
    assert not any(isinstance(m, (nn.BatchNorm2d, FrozenBatchNorm, TiledConv)) for m in prepared.modules())
    assert any(isinstance(m, PreparedTiledConv) for m in prepared.modules())
    assert any(isinstance(m, TiledConv) for m in model.modules())


def test_the_model_itself_stays_as_it_was() -> None:
    model = make_model(tiny_model_config()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prepare(model, CPU, "bf16")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("capable", [False, True])
def test_auto_takes_bf16_where_the_processor_multiplies_it(capable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": capable}, raising=False)
    network = TorchModel(make_model(tiny_model_config()), "cpu").model.network
    assert isinstance(network, PreparedNetwork)
    assert network.dtype == (torch.bfloat16 if capable else torch.float32)


def test_auto_is_careful_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    network = TorchModel(make_model(tiny_model_config()), "cpu").model.network
    assert isinstance(network, PreparedNetwork)
    assert network.dtype == torch.float32


@pytest.mark.slow
@torch.no_grad()
def test_a_compiled_network_computes_the_same() -> None:
    model = make_model(layouts()["wide"])
    batch = model.input_rule([IMAGE])
    plain, compiled = (prepare(model, CPU, "fp32", compile=compile).network(batch) for compile in (False, True))
    for ours, true in zip(tensors(compiled), tensors(plain), strict=True):
        assert (ours - true).norm() <= 1e-4 * true.norm()


def test_without_a_compiler_the_model_runs_uncompiled_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model(tiny_model_config())
    (expected,) = TorchModel(model, "cpu", "fp32").model.predict([IMAGE])

    def compile_late(function: object, **options: object) -> Callable[..., object]:
        def fail(*arguments: object) -> object:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nSet TORCHDYNAMO_VERBOSE=1")

        return fail

    monkeypatch.setattr(torch, "compile", compile_late)
    (uncompiled,) = TorchModel(model, "cpu", "fp32", compile=True).model.predict([IMAGE])
    assert (uncompiled.id_map == expected.id_map).all()
    (warning,) = caplog.messages
    assert "(InvalidCxxCompiler: No working C++ compiler found), so the network runs uncompiled" in warning


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "answer"), [({}, "True"), ({"PATH": "/nowhere", "CXX": "none"}, "False")])
def test_a_compiler_is_found_where_there_is_one(compiler: dict[str, str], answer: str, tmp_path: Path) -> None:
    if answer == "True" and not shutil.which("g++"):
        pytest.skip("needs a C++ compiler")
    program = """
import torch
from panoptic_blend.modeling.hardware import can_compile
print(can_compile(torch.device("cpu")))
"""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), **compiler}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == answer
    assert ("the network runs uncompiled" in done.stderr) == (answer == "False")
