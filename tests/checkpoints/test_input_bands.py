"""Weights for RGB start a network that reads other bands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from panoptic_blend.checkpoints.backbone import load_backbone_weights
from panoptic_blend.checkpoints.initialise import initialise
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.modeling.build import build_backbone, build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import tiny_model_config


def make_model(channels: int, name: str = "resnet18", weights: Path | str = "none") -> PanopticBlend:
    config = tiny_model_config()
    config.backbone.name, config.backbone.weights = name, str(weights)
    config.input.channels = channels
    return build_model(config, SHAPES).eval()


def first_convolution(model: PanopticBlend) -> nn.Conv2d:
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "timm:resnet10t"])
@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_a_picture_of_equal_bands_gives_the_same_features(tmp_path: Path, name: str, channels: int) -> None:
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="needs the timm extra")
    torch.manual_seed(0)
    of_rgb = make_model(3, name)
    body = of_rgb.network.backbone.body if name.startswith("timm:") else of_rgb.network.backbone
    save_file(body.state_dict(), tmp_path / "weights.safetensors")
    model = make_model(channels, name, tmp_path / "weights.safetensors")
    (note,) = load_backbone_weights(model)
    assert f"reads {channels} band" in note
    assert f"scaled by 3/{channels}" in note
    gray = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        found = model.network.backbone(gray.expand(-1, channels, -1, -1))
        expected = of_rgb.network.backbone(gray.expand(-1, 3, -1, -1))
    for own, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-3, atol=1e-4)
    if channels > 3:
        ours, filters = first_convolution(model).weight, first_convolution(of_rgb).weight
        torch.testing.assert_close(ours[:, :3], filters * 3 / channels)
        torch.testing.assert_close(ours[:, -1], (filters[:, 0] + filters[:, 1] + filters[:, 2]) / channels)


def test_weights_of_as_many_bands_are_taken_as_they_are(tmp_path: Path) -> None:
    source = make_model(4)
    save_file(source.network.backbone.state_dict(), tmp_path / "weights.safetensors")
    model = make_model(4, weights=tmp_path / "weights.safetensors")
    assert load_backbone_weights(model) == []
    assert torch.equal(first_convolution(model).weight, first_convolution(source).weight)


def test_a_model_of_rgb_starts_one_of_more_bands(tmp_path: Path) -> None:
    source, model = make_model(3), make_model(5)
    save_model(source, tmp_path / "model.safetensors")
    report = initialise(model, tmp_path / "model.safetensors")
    assert report.resized == {}
    assert report.missing == []
    assert [note for note in report.notes if "backbone.conv1.weight reads 5 bands" in note]
    torch.testing.assert_close(first_convolution(model).weight[:, :3], first_convolution(source).weight * 3 / 5)


def test_a_stem_of_other_bands_is_trained_even_when_it_is_frozen() -> None:
    config = tiny_model_config().backbone
    config.frozen_stages = 2
    assert not build_backbone(config).conv1.weight.requires_grad
    stem = build_backbone(config, 4)
    assert stem.conv1.weight.requires_grad
    assert not stem.layer1[0].conv1.weight.requires_grad
