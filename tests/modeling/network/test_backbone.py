from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.ops import FrozenBatchNorm2d

from panoptic_blend.config import BackboneConfig, ModelConfig
from panoptic_blend.errors import CheckpointError, ConfigError
from panoptic_blend.modeling.build import build_backbone
from panoptic_blend.modeling.network.backbone import ModulatedDeformConv, ResNet, TimmBackbone, load_backbone_weights


def torchvision_pyramid(network: models.ResNet, images: Tensor) -> list[Tensor]:
    features = [network.maxpool(network.relu(network.bn1(network.conv1(images))))]
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        features.append(stage(features[-1]))
    return features[1:]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_torchvision_weights_file_gives_torchvision_features(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = getattr(models, name)(weights=None).eval()
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    backbone = ResNet(name, "frozen")
    load_backbone_weights(backbone, name, str(tmp_path / "weights.pth"))
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for own, expected in zip(backbone(images), torchvision_pyramid(reference, images), strict=True):
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_channels_and_strides_are_as_announced(name: str) -> None:
    backbone = ResNet(name, "batch", width=8, stem_width=4)
    for index, feature in enumerate(backbone(torch.randn(2, 3, 64, 32))):
        assert feature.shape == (2, backbone.channels[index], 16 // 2**index, 8 // 2**index)


def test_frozen_stages_do_not_train() -> None:
    backbone = ResNet("resnet18", "batch", frozen_stages=2, width=8, stem_width=8)
    trained = {name.split(".")[0] for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    assert isinstance(backbone.bn1, FrozenBatchNorm2d)
    assert isinstance(backbone.layer2[0].bn1, nn.BatchNorm2d)


def test_caffe_bottlenecks_stride_in_their_first_convolution() -> None:
    backbone = ResNet("resnet50", "frozen", width=4, stem_width=4, stride_in_1x1=True)
    block = backbone.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))


def test_deformable_blocks_come_at_the_interval_and_start_as_plain_convolutions() -> None:
    backbone = ResNet("resnet50", "frozen", width=4, stem_width=4, deformable_stages=(3, 4, 5), deformable_interval=3)
    assert not isinstance(backbone.layer1[0].conv2, ModulatedDeformConv)
    assert [isinstance(block.conv2, ModulatedDeformConv) for block in backbone.layer3] == [True, False, False] * 2
    deformable = ModulatedDeformConv(5, 2)
    x = torch.randn(1, 5, 9, 8)
    plain = nn.functional.conv2d(x, deformable.conv.weight, stride=2, padding=1)
    torch.testing.assert_close(deformable(x), plain * 0.5)  # untrained tap weights are sigmoid(0)


def test_weights_from_safetensors_and_without_classifier(tmp_path: Path) -> None:
    source = ResNet("resnet18", "batch", width=8, stem_width=8)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    target = ResNet("resnet18", "frozen", width=8, stem_width=8)
    load_backbone_weights(target, "resnet18", str(tmp_path / "weights.safetensors"))
    assert torch.equal(target.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_deformable_blocks_start_from_ordinary_weights(tmp_path: Path) -> None:
    source = ResNet("resnet50", "batch", width=4, stem_width=4)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    target = ResNet("resnet50", "batch", width=4, stem_width=4, deformable_stages=(5,), deformable_interval=2)
    load_backbone_weights(target, "resnet50", str(tmp_path / "weights.pth"))
    assert torch.equal(target.layer4[2].conv2.conv.weight, source.layer4[2].conv2.weight)
    assert torch.equal(target.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    torch.save(ResNet("resnet34", "batch", width=8, stem_width=8).state_dict(), tmp_path / "weights.pth")
    target = ResNet("resnet18", "batch", width=16, stem_width=8)
    with pytest.raises(CheckpointError, match=r"surplus \['layer1\.2.*of another shape \['layer1\.0"):
        load_backbone_weights(target, "resnet18", str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_unreadable_weights_are_an_error_for_people(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        load_backbone_weights(ResNet("resnet18", "batch", width=8, stem_width=8), "resnet18", str(path))


def test_damaged_weights_never_raise_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    backbone = ResNet("resnet18", "batch", width=8, stem_width=8)
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"weights\.pth"):
            load_backbone_weights(backbone, "resnet18", str(path))


def test_a_weights_file_is_refused_for_timm_not_passed_over() -> None:
    config = ModelConfig(backbone=BackboneConfig(name="timm:resnet18", weights="mine.pth"))
    with pytest.raises(ConfigError, match=r"model\.backbone\.weights is 'mine\.pth'"):
        build_backbone(config, pretrained=True)


def test_a_download_that_fails_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(CheckpointError, match=r"could not be downloaded.*no route to host.*--init-from"):
        load_backbone_weights(ResNet("resnet18", "frozen"), "resnet18", "imagenet")


def test_a_pickle_that_wants_to_run_something_is_refused_without_bad_advice(tmp_path: Path) -> None:
    torch.save({"weight": Path("x")}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="asks to run more than tensors need") as caught:
        load_backbone_weights(ResNet("resnet18", "frozen"), "resnet18", str(tmp_path / "weights.pth"))
    assert "weights_only" not in str(caught.value)


def test_timm_pyramids_have_the_four_strides() -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    backbone = TimmBackbone("mobilenetv3_small_050", pretrained=False)
    shapes = [feature.shape for feature in backbone(torch.randn(1, 3, 64, 64))]
    assert shapes == [(1, channels, 16 // 2**i, 16 // 2**i) for i, channels in enumerate(backbone.channels)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swin_tiny_patch4_window7_224", r"sizes of its own only.*Input height \(64\) doesn't match model \(224\)"),
        ("coatnet_pico_rw_224", "sizes of its own only"),
        ("vit_tiny_patch16_224", r"no features at strides \[4, 8, 32\]"),
        ("inception_v3", "sizes of its own only|gives features"),
    ],
)
def test_timm_networks_without_a_pyramid_for_any_image_are_refused(name: str, message: str) -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    with pytest.raises(ConfigError, match=rf"model\.backbone\.name: timm's {name} .*({message})"):
        TimmBackbone(name, pretrained=False)


def test_timm_features_with_the_channels_last_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")

    class ChannelsLast(nn.Module):
        feature_info = timm.models.FeatureInfo(
            [{"num_chs": 5, "reduction": stride, "module": ""} for stride in (4, 8, 16, 32)], (0, 1, 2, 3)
        )

        def forward(self, images: Tensor) -> list[Tensor]:
            height, width = images.shape[-2:]
            return [torch.zeros(1, height // stride, width // stride, 5) for stride in (4, 8, 16, 32)]

    monkeypatch.setattr(timm, "create_model", lambda *arguments, **options: ChannelsLast())
    with pytest.raises(ConfigError, match=r"gives features of 16 x 24 x 5 .* 5 x 16 x 24"):
        TimmBackbone("resnet18", pretrained=False)


def test_an_unknown_timm_model_is_a_setting_s_error() -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    with pytest.raises(ConfigError, match="no model 'resnet5o'"):
        TimmBackbone("resnet5o", pretrained=False)
