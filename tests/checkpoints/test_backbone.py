from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision import models

from panoptic_blend.checkpoints.backbone import load_backbone_weights
from panoptic_blend.config import BackboneConfig
from panoptic_blend.errors import CheckpointError, ConfigError
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.network.backbone import ResNet, TimmBackbone
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import tiny_model_config

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def narrow_resnet(name: str) -> ResNet:
    return ResNet(name, "batch", width=8, stem_width=8)


def make_model(weights: Path | str, **settings: Any) -> PanopticBlend:
    """The tiny model, whose backbone gets these settings and is as narrow as `narrow_resnet` unless they say so."""
    config = tiny_model_config()
    config.backbone = BackboneConfig(**{**vars(config.backbone), **settings, "weights": str(weights)})
    return build_model(config, SHAPES)


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
    model = make_model(tmp_path / "weights.pth", name=name, width=64, norm="frozen")
    load_backbone_weights(model)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for own, expected in zip(model.network.backbone(images), torchvision_pyramid(reference, images), strict=True):
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)


def test_weights_from_safetensors_and_without_classifier(tmp_path: Path) -> None:
    source = narrow_resnet("resnet18")
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    model = make_model(tmp_path / "weights.safetensors", norm="frozen")
    load_backbone_weights(model)
    target = model.network.backbone.state_dict()
    assert all(torch.equal(target[name], source.state_dict()[name]) for name in target)


def test_deformable_blocks_start_from_ordinary_weights(tmp_path: Path) -> None:
    source = narrow_resnet("resnet50")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = make_model(tmp_path / "weights.pth", name="resnet50", deformable_stages=(5,), deformable_interval=2)
    load_backbone_weights(model)
    target: Any = model.network.backbone
    assert torch.equal(target.layer4[2].conv2.conv.weight, source.layer4[2].conv2.weight)
    assert torch.equal(target.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert not target.layer4[2].conv2.offset.weight.any()


def test_no_weights_leave_what_was_built() -> None:
    model = make_model("none")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    load_backbone_weights(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_frozen_norms_need_weights() -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone\.norm is 'frozen' but weights is 'none'"):
        load_backbone_weights(make_model("none", norm="frozen"))


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    torch.save(ResNet("resnet34", "batch", width=8, stem_width=4).state_dict(), tmp_path / "weights.pth")
    message = r"does not fit resnet18: surplus: layer1.* and 80 more; of another shape: conv1.weight \[4.*of \[8"
    with pytest.raises(CheckpointError, match=message):
        load_backbone_weights(make_model(tmp_path / "weights.pth"))


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_unreadable_weights_are_an_error_for_people(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pth"):
        load_backbone_weights(make_model(path))


def test_another_project_s_pickle_is_named_as_that(tmp_path: Path) -> None:
    path = tmp_path / "R-50.pkl"
    path.touch()
    with pytest.raises(CheckpointError, match=r"another project's names.*--init-from .*R-50\.pkl"):
        load_backbone_weights(make_model(path))


def test_a_pickle_that_wants_to_run_something_is_refused_without_bad_advice(tmp_path: Path) -> None:
    torch.save({"weight": Path("x")}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"weights\.pth: refused.* would call pathlib") as caught:
        load_backbone_weights(make_model(tmp_path / "weights.pth"))
    assert "weights_only" not in str(caught.value)


def test_a_download_that_fails_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(CheckpointError, match=r"could not be downloaded.*no route to host.*--init-from"):
        load_backbone_weights(make_model("imagenet", width=64))


def timm_pyramid(name: str, tensors: dict[str, Tensor]) -> list[Tensor]:
    """C2 to C5 of `IMAGES` by timm's own model with these tensors of its classifier."""
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    pyramid = timm.create_model(name, True, pretrained_cfg_overlay={"state_dict": tensors}, features_only=True)
    with torch.no_grad():
        features = dict(zip(pyramid.feature_info.reduction(), pyramid.eval()(IMAGES), strict=True))
    return [features[stride] for stride in (4, 8, 16, 32)]


def assert_same_features(model: PanopticBlend, expected: list[Tensor]) -> None:
    with torch.no_grad():
        for own, theirs in zip(model.eval().network.backbone(IMAGES), expected, strict=True):
            torch.testing.assert_close(own, theirs)


@pytest.mark.parametrize(
    "name",  # their pyramids name tensors as the classifier does, with '_' for some '.', and with 'model.' before them
    ["mobilenetv3_small_050", "convnext_atto", "cspnext_tiny", "resnet10t.c3_in1k"],
)
def test_a_file_for_a_timm_network_gives_timm_s_features(name: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    if not timm.is_model(name.partition(".")[0]):
        pytest.skip(f"timm {timm.__version__} does not have it")
    torch.manual_seed(0)
    tensors = timm.create_model(name, num_classes=7).state_dict()
    for tensor in tensors.values():
        if tensor.is_floating_point():  # norms too, whose first values any network has
            tensor.mul_(1.1).add_(0.01)
    save_file(tensors, tmp_path / "weights.safetensors")
    model = make_model(tmp_path / "weights.safetensors", name=f"timm:{name}")
    load_backbone_weights(model)
    assert_same_features(model, timm_pyramid(name, tensors))


def test_weights_trained_on_imagenet_give_timm_s_features(shared: Path) -> None:
    file = shared / "weights" / "tf_efficientnet_lite0.safetensors"
    expected = timm_pyramid("tf_efficientnet_lite0", load_file(file))
    model = make_model(file, name="timm:tf_efficientnet_lite0")
    load_backbone_weights(model)
    assert_same_features(model, expected)


def test_efficientnet_lite_gives_timm_s_features_from_timm_s_weights(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    torch.manual_seed(0)
    tensors = timm.create_model("tf_efficientnet_lite0").state_dict()
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.mul_(1.1).add_(0.01)
    save_file(tensors, tmp_path / "weights.safetensors")
    model = make_model(tmp_path / "weights.safetensors", name="efficientnet_lite0")
    load_backbone_weights(model)
    assert_same_features(model, timm_pyramid("tf_efficientnet_lite0", tensors))
    own, theirs = model.network.backbone, TimmBackbone("tf_efficientnet_lite0")
    assert (own.channels, own.pixel_mean, own.pixel_std) == (theirs.channels, theirs.pixel_mean, theirs.pixel_std)
    del tensors["conv_stem.weight"]
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit efficientnet_lite0: missing: conv_stem\.weight"):
        load_backbone_weights(model)


def test_timm_s_own_weights_are_those_of_the_name_and_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    name, create = "mobilenetv3_small_050.lamb_in1k", timm.create_model
    torch.manual_seed(1)
    published = create(name)
    expected = timm_pyramid(name, published.state_dict())
    model = make_model("imagenet", name=f"timm:{name}")

    def download(asked: str, pretrained: bool = False) -> nn.Module:
        assert asked == name
        return published if pretrained else create(asked)

    monkeypatch.setattr(timm, "create_model", download)
    load_backbone_weights(model)
    assert_same_features(model, expected)


def test_offline_only_weights_that_are_here_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*arguments: object, **settings: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("torch.hub.urlopen", no_network)
    monkeypatch.setenv("PANOPTIC_BLEND_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = make_model("imagenet", width=64)
    with pytest.raises(CheckpointError, match="working offline forbids it, and they are not on this machine"):
        load_backbone_weights(model)
    reference = models.resnet18(weights=None)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(reference.state_dict(), tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    load_backbone_weights(model)
    assert torch.equal(model.network.backbone.conv1.weight, reference.conv1.weight)


def test_a_timm_download_that_fails_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    model = make_model("imagenet", name="timm:resnet10t")

    def unreachable(*arguments: object, **options: object) -> None:
        raise FileNotFoundError("cannot locate the file on the Hub")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(CheckpointError, match=r"timm:resnet10t's weights could not be downloaded \(cannot locate"):
        load_backbone_weights(model)


def test_a_file_of_another_timm_network_is_refused(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="needs the timm extra")
    save_file(timm.create_model("resnet14t").state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit timm:resnet10t: surplus: layer1.* and 20 more"):
        load_backbone_weights(make_model(tmp_path / "weights.safetensors", name="timm:resnet10t"))
    with pytest.raises(CheckpointError, match=r"does not fit timm:convnext_atto: missing: stem_0\.weight"):
        load_backbone_weights(make_model(tmp_path / "weights.safetensors", name="timm:convnext_atto"))


def test_a_hostile_file_is_refused_for_timm_networks_too(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    torch.save({"conv1.weight": Path("x")}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"weights\.pth: refused.* would call pathlib"):
        load_backbone_weights(make_model(tmp_path / "weights.pth", name="timm:resnet10t"))
