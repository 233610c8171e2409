from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.network.backbone import ModulatedDeformConv, ResNet, TimmBackbone


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


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "tresnet_m"])  # of which the latter has none at stride 2
def test_timm_pyramids_have_the_four_strides(name: str) -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    backbone = TimmBackbone(name)
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
        TimmBackbone(name)


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
        TimmBackbone("resnet18")


def test_timm_networks_that_give_no_features_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")

    def refuse(*arguments: object, **options: object) -> None:
        raise RuntimeError("features_only not implemented")  # as timm says for some in earlier versions

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ConfigError, match=r"timm's resnet18 gives no features .*features_only not implemented"):
        TimmBackbone("resnet18")


def test_an_unknown_timm_model_is_a_setting_s_error() -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    with pytest.raises(ConfigError, match="no model 'resnet5o'"):
        TimmBackbone("resnet5o")


def test_timm_names_may_have_the_tag_of_their_weights() -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    assert TimmBackbone("resnet10t.c3_in1k").state_dict().keys() == TimmBackbone("resnet10t").state_dict().keys()
    with pytest.raises(ConfigError, match=r"no weights tagged 'c4_in1k' for resnet10t; it has resnet10t\.c3_in1k\."):
        TimmBackbone("resnet10t.c4_in1k")


def test_a_tag_decides_how_pixels_are_normalised() -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    ours = TimmBackbone("tf_efficientnet_b0.in1k")
    assert (ours.pixel_mean, ours.pixel_std) == (ResNet.pixel_mean, ResNet.pixel_std)
    adversarial = TimmBackbone("tf_efficientnet_b0.ap_in1k")  # trained with pixels of -1..1
    assert (adversarial.pixel_mean, adversarial.pixel_std) == ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
