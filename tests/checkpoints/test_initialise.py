"""Starting from other projects' weights: what fits computes the same, the rest is re-initialised and listed."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import resnet18, resnet50
from torchvision.models.detection import fcos_resnet50_fpn

from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints import detectron2, initialise, save_model, torchvision
from panoptic_blend.checkpoints.naming import Rules, translate
from panoptic_blend.config import BackboneConfig, FPNConfig, InputConfig, ModelConfig, SemanticConfig
from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.build import build_model
from tests.tiny import tiny_model_config


def _categories(things: int, stuff: int) -> Categories:
    return Categories([Category(i, f"category {i}", i < things, (i % 256, 0, 0)) for i in range(things + stuff)])


def _resnet50_config(width: int = 8) -> ModelConfig:
    """A narrow ResNet-50 with everything else tiny."""
    backbone = BackboneConfig(name="resnet50", weights="none", norm="frozen", frozen_stages=2, width=width)
    return dataclasses.replace(tiny_model_config(), backbone=backbone)


def _randomise(model: torch.nn.Module) -> None:
    """Norms away from their identity, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if value.ndim == 1:
            spread = torch.rand(value.shape, generator=generator)
            value.copy_(spread + 0.5 if name.endswith(("weight", "running_var")) else spread - 0.5)


@torch.no_grad()
def test_torchvision_fcos_head_outputs_are_torchvisions(tmp_path: Path) -> None:
    theirs = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=7).eval()
    _randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "fcos.pth")
    ours = build_model(
        ModelConfig(
            backbone=BackboneConfig(weights="none", norm="batch", frozen_stages=0),
            semantic=SemanticConfig(channels=16),
        ),
        _categories(7, 2),
    ).eval()
    report = initialise(ours, tmp_path / "fcos.pth")
    assert report.source == "torchvision FCOS"
    assert report.surplus == []
    assert report.resized == {}
    assert not [name for name in report.missing if name.startswith(("network.backbone.", "network.head."))]

    image = torch.randint(0, 256, (3, 96, 128), generator=torch.Generator().manual_seed(1)).float()
    batch = ours.input_rule([image])
    # torchvision normalises images in 0..1
    mean, std = torch.tensor(theirs.transform.image_mean), torch.tensor(theirs.transform.image_std)
    normalised = (image / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(batch[0], normalised, rtol=0, atol=1e-5)
    features = list(theirs.backbone(batch).values())
    expected = theirs.head(features)
    detector = ours.network(batch).detector
    for name, levels in (
        ("cls_logits", detector.class_logits),
        ("bbox_regression", detector.distances),
        ("bbox_ctrness", detector.centerness),
    ):
        found = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-5)


def test_torchvision_resnet_fills_the_backbone_alone(tmp_path: Path) -> None:
    theirs = resnet50(width_per_group=64)
    _randomise(theirs)
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    config = dataclasses.replace(_resnet50_config(64), fpn=FPNConfig(channels=16, coarsest_level=5))
    model = build_model(config, _categories(2, 2))
    report = initialise(model, tmp_path / "resnet.pth")
    assert sorted(report.surplus) == ["fc.bias", "fc.weight"]
    assert torch.equal(model.network.backbone.layer3[1].conv2.weight, theirs.layer3[1].conv2.weight)
    assert torch.equal(model.network.backbone.bn1.running_mean, theirs.bn1.running_mean)


def test_caffe2_backbone_pickle_becomes_the_same_scale_and_shift(tmp_path: Path) -> None:
    model = build_model(_resnet50_config(), _categories(2, 2))
    blobs, generator = {}, np.random.default_rng(0)
    own = model.state_dict()

    def blob(name: str) -> str:
        """Caffe2's name of one of torchvision's, by hand."""
        words = name.split(".")
        if words[0] in ("conv1", "bn1"):
            return "conv1_w" if words[0] == "conv1" else f"res_conv1_bn_{words[1][0].replace('w', 's')}"
        branch = "1" if words[2] == "downsample" else "2" + "abc"[int(words[2][-1]) - 1]
        is_norm = words[2].startswith("bn") or words[2:4] == ["downsample", "1"]
        kind = {"weight": "bn_s", "bias": "bn_b"}[words[-1]] if is_norm else "w"
        return f"res{int(words[0][-1]) + 1}_{words[1]}_branch{branch}_{kind}"

    names = [n.removeprefix("network.backbone.") for n in own if n.startswith("network.backbone.")]
    for name in names:
        if not name.endswith(("running_mean", "running_var")):
            blobs[blob(name)] = generator.normal(size=own[f"network.backbone.{name}"].shape).astype(np.float32)
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({**blobs, "fc1000_w": np.ones(2), "fc1000_b": np.ones(2)}))
    report = initialise(model, tmp_path / "R-50.pkl")

    assert report.source == "Caffe2 backbone"
    assert sorted(report.surplus) == ["fc1000_b", "fc1000_w"]
    assert not [name for name in report.missing if name.startswith("network.backbone.")]
    backbone = model.network.backbone
    np.testing.assert_array_equal(backbone.layer2[0].conv2.weight.detach(), blobs["res3_0_branch2b_w"])
    np.testing.assert_array_equal(backbone.layer4[0].downsample[0].weight.detach(), blobs["res5_0_branch1_w"])
    norm = backbone.layer3[5].bn3
    x = torch.randn(1, len(norm.weight), 2, 2)
    scale, shift = (torch.from_numpy(blobs[f"res4_5_branch2c_bn_{k}"]).view(1, -1, 1, 1) for k in "sb")
    torch.testing.assert_close(norm(x), x * scale + shift)
    assert any("channel_order is 'RGB'" in note for note in report.notes)
    assert any("stride_in_1x1 is False" in note for note in report.notes)


def _detectron2_name(name: str) -> str:
    """detectron2's name of one of ours, by hand."""
    words = name.removeprefix("network.").split(".")
    if words[0] == "backbone":
        words = words[1:]
        if words[0] in ("conv1", "bn1"):
            return f"backbone.bottom_up.stem.conv1.{'norm.' * (words[0] == 'bn1')}{words[-1]}"
        layer = f"backbone.bottom_up.res{int(words[0][-1]) + 1}.{words[1]}"
        if words[2] == "downsample":
            return f"{layer}.shortcut.{'norm.' * (words[3] == '1')}{words[-1]}"
        return f"{layer}.conv{words[2][-1]}.{'norm.' * words[2].startswith('bn')}{words[-1]}"
    if words[0] == "fpn":
        return f"backbone.fpn_{words[1]}{int(words[2]) + 2}.{words[3]}"
    if words[0] == "trunk":
        return f"sem_seg_head.p{int(words[2]) + 2}.{words[3]}.{'norm.' * (words[4] == '1')}{words[5]}"
    return f"sem_seg_head.predictor.{words[1]}"


def test_panoptic_fpn_pickle_fills_backbone_pyramid_and_semantic_branch(tmp_path: Path) -> None:
    categories = _categories(2, 3)
    bases = dataclasses.replace(tiny_model_config().bases, kind="fpn")  # whose stuff predictor reads the trunk alone
    model = build_model(dataclasses.replace(_resnet50_config(), bases=bases), categories)
    shared_parts = ("network.backbone.", "network.fpn.", "network.trunk.", "network.stuff_predictor.")
    generator = np.random.default_rng(0)
    expected = {
        name: generator.normal(size=value.shape).astype(np.float32)
        for name, value in model.state_dict().items()
        if name.startswith(shared_parts)
    }
    file = {_detectron2_name(name): value for name, value in expected.items()}
    assert len(file) == len(expected)
    file["proposal_generator.rpn_head.conv.weight"] = np.ones(1)
    file["pixel_mean"] = np.ones(3)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": file, "__author__": "Detectron2 Model Zoo"}))
    report = initialise(model, tmp_path / "model.pkl")
    assert report.source == "detectron2"
    assert report.loaded == sorted(expected)
    assert report.surplus == ["proposal_generator.rpn_head.conv.weight", "pixel_mean"]
    tensors = model.state_dict()
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name].numpy(), value)


LAYERS = ("head.class_logits", "stuff_predictor", "auxiliary.2")
KINDS = ("weight", "bias")


def _row_of_each(tensors: dict[str, Tensor], categories: Categories) -> dict[str, Tensor]:
    """What the class layers of the tiny model have for each category, by hand."""
    rows = {"background": torch.cat([tensors[f"network.auxiliary.2.{kind}"][0].flatten() for kind in KINDS])}
    rows["a thing"] = torch.cat([tensors[f"network.stuff_predictor.{kind}"][0].flatten() for kind in KINDS])
    for category in categories:
        if category.is_thing:
            label = categories.thing_label(category.id)
            places = [("head.class_logits", label), ("auxiliary.2", 1 + label)]
        else:
            places = [("stuff_predictor", categories.semantic_label(category.id))]
        parts = [tensors[f"network.{layer}.{kind}"][row].flatten() for layer, row in places for kind in KINDS]
        rows[category.name] = torch.cat(parts)
    return rows


KINDS = ("weight", "bias")
CLASS_LAYERS = {
    f"network.{n}.{kind}" for n in ("head.class_logits", "stuff_predictor", "auxiliary.2") for kind in KINDS
}


def test_own_model_for_other_categories_keeps_what_it_learned_of_those_it_knows(tmp_path: Path) -> None:
    known = [("car", True), ("sky", False), ("dog", True), ("road", False), ("cat", True)]
    wanted = [("cat", True), ("road", False), ("bus", True), ("car", True), ("sea", False), ("dog", False)]
    before, after = (
        Categories([Category(first + i, name, thing, (i, 0, 0)) for i, (name, thing) in enumerate(names)])
        for first, names in ((0, known), (20, wanted))
    )
    trained = build_model(tiny_model_config(), before)
    for parameter in trained.parameters():  # biases start alike
        torch.nn.init.normal_(parameter)
    save_model(trained, tmp_path / "model.safetensors")
    model = build_model(tiny_model_config(), after)
    fresh = _row_of_each({name: value.clone() for name, value in model.state_dict().items()}, after)
    report = initialise(model, tmp_path / "model.safetensors")

    assert report.resized == {}
    assert report.missing == report.surplus == []
    assert report.new_categories == ["'bus' (thing)", "'sea' (stuff)", "'dog' (stuff)"]
    assert "re-initialised, for categories that the file's model does not predict: 'bus' (thing)" in "\n".join(
        report.lines()
    )
    learned = _row_of_each(trained.state_dict(), before)
    for name, row in _row_of_each(model.state_dict(), after).items():
        carried = name in ("background", "a thing", "cat", "road", "car")
        assert torch.equal(row, (learned if carried else fresh)[name]), name
    for name in model.state_dict().keys() - {f"network.{layer}.{kind}" for layer in LAYERS for kind in KINDS}:
        assert torch.equal(model.state_dict()[name], trained.state_dict()[name]), name


def test_a_file_without_categories_is_taken_in_the_data_sets_order_and_says_so(tmp_path: Path) -> None:
    trained = build_model(tiny_model_config(), _categories(3, 2))
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    model = build_model(tiny_model_config(), _categories(3, 2))
    report = initialise(model, tmp_path / "weights.pth")
    assert torch.equal(model.network.head.class_logits.weight, trained.network.head.class_logits.weight)
    assert "does not name its categories" in "\n".join(report.lines())


def test_adelaidet_recording_starts_a_shared_bases_model(shared: Path, tmp_path: Path) -> None:
    recording = torch.load(shared / "parity" / "panoptic_r50.pt", weights_only=True)
    torch.save({"model": recording["state_dict"]}, tmp_path / "model_final.pth")
    config = ModelConfig(
        input=InputConfig(pixel_mean=(103.53, 116.28, 123.675), pixel_std=(1, 1, 1), channel_order="BGR"),
        backbone=BackboneConfig(weights="none", width=4, stem_width=8, stride_in_1x1=True),
        fpn=FPNConfig(channels=32),
        semantic=SemanticConfig(channels=32),
    )
    model = build_model(config, _categories(5, 3))
    report = initialise(model, tmp_path / "model_final.pth")
    assert report.notes == [
        "the file does not name its categories; they are taken to be the data set's, in the same order."
    ]
    assert report.resized.keys() == {"network.stuff_predictor.weight"} | {
        name for name in model.state_dict() if name.startswith("network.auxiliary.") and name in report.resized
    }
    assert {name.split(".")[1] for name in report.missing} == {"bases"}


def test_frozen_backbone_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "resnet.pth")
    deeper = dataclasses.replace(_resnet50_config(64).backbone, name="resnet34")
    model = build_model(dataclasses.replace(tiny_model_config(), backbone=deeper), _categories(2, 2))
    with pytest.raises(CheckpointError, match=r"no fitting weights for \d+ tensors of resnet34.*are frozen"):
        initialise(model, tmp_path / "resnet.pth")


def test_a_timm_backbone_is_trained_whole_so_it_may_be_re_initialised(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs the timm extra")
    save_model(build_model(tiny_model_config(), _categories(2, 2)), tmp_path / "model.safetensors")
    other = BackboneConfig(name="timm:mobilenetv3_small_050", weights="none")
    model = build_model(dataclasses.replace(tiny_model_config(), backbone=other), _categories(2, 2))
    report = initialise(model, tmp_path / "model.safetensors")
    assert "network.head.class_logits.weight" in report.loaded
    assert any(name.startswith("network.backbone.") for name in report.missing)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a.b": torch.ones(1)}, r"its tensors \(a\.b, \.\.\.\) are of no kind"),
        ({"network.elsewhere": torch.ones(1)}, "none of its tensors has a place"),
    ],
)
def test_unknown_weights_are_refused(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    torch.save(tensors, tmp_path / "weights.pth")
    model = build_model(tiny_model_config(), _categories(2, 2))
    with pytest.raises(CheckpointError, match=message):
        initialise(model, tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (detectron2.caffe2_resnet_rules(), "res3_0_branch2b_w"),
        (detectron2.resnet_rules(""), "res3.0.conv2.weight"),
        (torchvision.resnet_rules(""), "layer2.0.conv2.weight"),
    ],
)
def test_deformable_block_starts_from_the_ordinary_convolution(rules: Rules, expected: str) -> None:
    assert translate("network.backbone.layer2.0.conv2.conv.weight", rules) == expected


def test_first_matching_rule_wins() -> None:
    assert translate("a.1", [(r"a\.(\d)", r"b.\1"), (r"a\..*", "c")]) == "b.1"
    assert translate("xa.1", [(r"a\.(\d)", r"b.\1")]) is None
