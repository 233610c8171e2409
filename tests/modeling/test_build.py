"""What the builder decides on its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from panoptic_blend.checkpoints import load_model, save_model
from panoptic_blend.config import InputConfig
from panoptic_blend.config.plain import parse_settings
from panoptic_blend.config_files import read_config
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import tiny_model_config

IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
HALF = (127.5, 127.5, 127.5)


def built_statistics(backbone: str, given: InputConfig) -> tuple[object, object]:
    """Mean and standard deviation of a model, of which its configuration must tell the same as its input rule does."""
    config = tiny_model_config()
    config.backbone.name, config.input = backbone, given
    model = build_model(config, SHAPES)
    rule, told = model.input_rule, model.config.input
    assert rule.pixel_mean.flatten().tolist() == pytest.approx(told.pixel_mean)
    assert rule.pixel_std.flatten().tolist() == pytest.approx(told.pixel_std)
    return told.pixel_mean, told.pixel_std


def test_a_resnet_is_fed_as_on_imagenet_unless_settings_say_otherwise() -> None:
    assert built_statistics("resnet18", InputConfig()) == IMAGENET
    assert built_statistics("resnet18", InputConfig(channel_order="BGR")) == (IMAGENET[0][::-1], IMAGENET[1][::-1])
    assert built_statistics("resnet18", InputConfig(pixel_std=(1, 2, 3))) == (IMAGENET[0], (1, 2, 3))
    caffe = InputConfig(pixel_mean=(103.53, 116.28, 123.675), pixel_std=(1, 1, 1), channel_order="BGR")
    assert built_statistics("resnet18", caffe) == (caffe.pixel_mean, caffe.pixel_std)


def test_further_bands_are_fed_as_red_green_and_blue_on_average() -> None:
    average = sum(IMAGENET[0]) / 3, sum(IMAGENET[1]) / 3
    for channels in (4, 6):
        mean, std = built_statistics("resnet18", InputConfig(channels=channels, channel_order="BGR"))
        assert mean == (*IMAGENET[0][::-1], *[average[0]] * (channels - 3))
        assert std == (*IMAGENET[1][::-1], *[average[1]] * (channels - 3))
    assert built_statistics("efficientnet_lite0", InputConfig(channels=1)) == (HALF[:1], HALF[:1])
    assert built_statistics("resnet18", InputConfig(channels=2)) == ((average[0],) * 2, (average[1],) * 2)
    given = InputConfig(channels=4, pixel_mean=(1, 2, 3, 4), pixel_std=(5, 6, 7, 8))
    assert built_statistics("resnet18", given) == ((1, 2, 3, 4), (5, 6, 7, 8))


def test_a_timm_network_is_fed_as_its_own_weights_were_trained() -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    assert timm.get_pretrained_cfg("tf_efficientnet_lite0").mean == (0.5, 0.5, 0.5)
    assert built_statistics("timm:tf_efficientnet_lite0", InputConfig()) == (HALF, HALF)
    assert built_statistics("timm:tf_efficientnet_lite0", InputConfig(pixel_mean=(1, 2, 3))) == ((1, 2, 3), HALF)
    assert built_statistics("timm:resnet10t", InputConfig()) == IMAGENET


def test_a_checkpoint_has_the_numbers_and_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    config = tiny_model_config()
    config.backbone.name, config.backbone.weights = "timm:tf_efficientnet_lite0.in1k", "imagenet"
    save_model(build_model(config, SHAPES), tmp_path / "model.safetensors")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("loading needs no network"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("loading needs no network"))
    loaded = load_model(tmp_path / "model.safetensors").config
    assert (loaded.input.pixel_mean, loaded.input.pixel_std) == (HALF, HALF)
    assert loaded.backbone == config.backbone


@pytest.mark.parametrize("channels", [1, 4])
def test_a_checkpoint_has_the_number_of_bands(tmp_path: Path, channels: int) -> None:
    config = tiny_model_config()
    config.input = InputConfig(channels=channels, shortest_edge=64, longest_edge=128)
    save_model(build_model(config, SHAPES), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config.input.channels == loaded.channels == channels
    assert loaded.network.backbone.conv1.in_channels == channels


def test_files_may_have_numbers_null_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("model: {input: {pixel_mean: [1, 2, 3], pixel_std: [4, 5, 6]}}")
    (tmp_path / "new.yaml").write_text("model: {input: {pixel_mean: null}}")
    assert read_config(tmp_path / "old.yaml").model.input.pixel_mean == (1, 2, 3)
    assert read_config([tmp_path / "old.yaml", tmp_path / "new.yaml"]).model.input.pixel_mean is None
    assert parse_settings(InputConfig, {"pixel_std": [4, 5, 6]}, "input").pixel_std == (4, 5, 6)
