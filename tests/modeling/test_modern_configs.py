"""`configs/modern/`: each can be built, is as large as its table says, and learns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config import Config
from panoptic_blend.config_files import read_config
from panoptic_blend.modeling.build import build_model
from panoptic_blend.structures import Targets

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "modern"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _config(name: str) -> Config:
    config = read_config([FOLDER / f"{name}.yaml"])
    if config.model.backbone.name.startswith("timm:"):
        pytest.importorskip("timm")
    config.model.backbone.weights = "none"
    return config


def test_the_family_is_whole() -> None:
    assert NAMES == ["base", "nano", "small", "tiny"]


@pytest.mark.parametrize("name", NAMES)
def test_the_table_tells_the_parameters(name: str) -> None:
    told = re.search(rf"`modern/{name}` \| ([0-9.]+) \|", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert told is not None
    network = build_model(_config(name).model, coco_categories()).network
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(float(told[1]), abs=0.06)


@pytest.mark.parametrize("name", ["nano", "tiny"])
def test_every_trained_weight_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(_config(name).model, coco_categories()).train()
    masks = torch.zeros(1, 96, 96, dtype=torch.bool)
    masks[0, 20:70, 20:70] = True
    semantic = torch.where(masks[0], 0, 1 + torch.arange(96) % 5)
    targets = Targets.from_masks(torch.tensor([[20.0, 20, 70, 70]]), torch.tensor([3]), masks, semantic)
    images = [torch.randint(0, 256, (3, 96, 96)) for _ in range(2)]
    torch.stack(list(model(images, [targets, targets]).values())).sum().backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
