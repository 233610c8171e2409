"""Training by tiles: the same losses and gradients of a whole model, and only where it is meant."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from rich.console import Console
from torch import nn

from panoptic_blend.config import FPNConfig
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.network.winograd import TiledConv, compute_by_tiles
from panoptic_blend.structures import Targets
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.training import build, run
from tests.tiny import tiny_model_config
from tests.training.tiny_run import tiny_config

SIZE = (256, 288)


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_a_whole_model_has_the_same_losses_and_gradients(norm: Literal["group", "batch", "none"]) -> None:
    torch.manual_seed(0)
    config = tiny_model_config()
    config = replace(config, fpn=FPNConfig(channels=128, coarsest_level=5), fcos=replace(config.fcos, norm=norm))
    plain = build_model(config, SHAPES).train()
    tiled = copy.deepcopy(plain)
    compute_by_tiles(tiled.network)
    assert any(isinstance(module, TiledConv) for module in tiled.modules())
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[0, 60:120, 80:150] = True
    box = torch.tensor([[80.0, 60.0, 150.0, 120.0]])
    targets = Targets.from_masks(box, torch.tensor([1]), mask, torch.where(mask[0], 0, 1))
    losses = []
    for model in (plain, tiled):
        losses.append(model([image], [targets]))
        torch.stack(list(losses[-1].values())).sum().backward()
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-5)
    expected = dict(plain.named_parameters())
    for name, parameter in tiled.named_parameters():
        gradient, true = parameter.grad, expected[name].grad
        assert gradient is not None
        assert true is not None
        assert (gradient - true).norm() <= 1e-3 * true.norm() + 1e-5, name


@pytest.mark.parametrize(
    ("precision", "setting", "tiled"), [("fp32", True, True), ("fp32", False, False), ("bf16", True, False)]
)
def test_tiles_are_for_single_precision_and_can_be_switched_off(
    precision: Literal["fp32", "bf16"],
    setting: bool,
    tiled: bool,
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    networks: list[nn.Module] = []
    monkeypatch.setattr(build, "compute_by_tiles", networks.append)
    config = tiny_config(shapes_root, tmp_path / "run", max_steps=1)
    config.trainer.precision, config.trainer.tiles = precision, setting
    run.train(config, console=Console(quiet=True))
    assert bool(networks) == tiled
