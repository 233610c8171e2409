"""`configs/coco/`: each is the published model, parameter for parameter, and can be trained."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from panoptic_blend.categories import Categories
from panoptic_blend.checkpoints.adelaidet import from_adelaidet, parameter_rules
from panoptic_blend.checkpoints.adelaidet_settings import model_config, read_settings
from panoptic_blend.checkpoints.naming import COUNTER, translate
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config import ModelConfig
from panoptic_blend.config_files import read_config
from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Targets

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "coco"

# Counted on models that the reference implementation built: parameters, those that train, tensors (without batch
# norms' counters), and the SHA-256 of its sorted "name [shape]" lines. Of DLA, the reference's own backbone without the
# projections that its forward pass leaves out, and the parts that stand in the other models.
PUBLISHED = {
    "panoptic_r50_1x": (38268208, 38045808, 397, "5beb66b0f9e855cd"),
    "panoptic_r50_3x": (38268208, 38045808, 397, "5beb66b0f9e855cd"),
    "panoptic_r101_3x": (57208112, 56985712, 652, "2806e4e8e6e92ca0"),
    "panoptic_r50_dcni3_5x": (38579383, 38356983, 407, "3b0de4dc55175490"),
    "panoptic_r101_dcni3_5x": (57892697, 57670297, 674, "7572e118974a999b"),
    "r50_1x": (35981562, 35759162, 370, "2f7474967bd7386c"),
    "r50_3x": (35981562, 35759162, 370, "2f7474967bd7386c"),
    "r101_3x": (54921466, 54699066, 625, "b5eff884820e947d"),
    "r101_dcni3_5x": (55606051, 55383651, 647, "62e55e9782acc495"),
    "550_r50_1x": (32290810, 32068410, 343, "2fe7d6ceaf6c254c"),
    "550_r50_3x": (32290810, 32068410, 343, "2fe7d6ceaf6c254c"),
    "550_r50_dcni3_5x": (32601985, 32379585, 353, "51ab52cb6858fb90"),
    "rt_r50_4x_syncbn_shtw": (31753850, 31753850, 341, "89eaa3adbaf890d0"),
    "rt_r50_4x_bn-head_syncbn_shtw": (31756922, 31756922, 371, "3f2d9f81ec6450c7"),
    "dla34_4x_syncbn": (25887466, 25887466, 286, "218f603afaff62b4"),
}
every_config = pytest.mark.parametrize("name", PUBLISHED)


def _config(name: str) -> ModelConfig:
    return read_config([FOLDER / f"{name}.yaml"]).model


def test_every_config_is_in_the_table() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == PUBLISHED.keys()


@every_config
def test_model_has_the_published_tensors(name: str) -> None:
    config = _config(name)
    with torch.device("meta"):  # shapes alone
        model = build_model(config, coco_categories())
    rules = parameter_rules(config.fpn.finest_level)
    shapes = {
        translate(ours, rules): list(tensor.shape)
        for ours, tensor in model.state_dict().items()
        if not ours.endswith(COUNTER)
    }
    lines = "\n".join(sorted(f"{theirs} {shape}" for theirs, shape in shapes.items()))
    parameters = list(model.parameters())
    assert (
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        len(shapes),
        hashlib.sha256(lines.encode()).hexdigest()[:16],
    ) == PUBLISHED[name]


def _take_one_step(model: PanopticBlend, size: int) -> None:
    masks = torch.zeros((2, size, size), dtype=torch.bool)
    masks[0, 8 : size // 2, 8 : size // 2] = True
    masks[1, size // 4 :, size // 4 : size - 8] = True
    boxes = torch.tensor([[8.0, 8.0, size / 2, size / 2], [size / 4, size / 4, size - 8, size]])
    semantic = torch.where(masks.any(0), 0, 1 + torch.arange(size) % 5)
    targets = Targets.from_masks(boxes, torch.tensor([0, 1]), masks, semantic)
    image = torch.randint(0, 256, (3, size, size), generator=torch.Generator().manual_seed(0))

    model.train()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    optimizer = torch.optim.SGD(trained.values(), lr=1e-3)
    loss = torch.stack(list(model([image, image.flip(2)], [targets, targets]).values())).sum()
    assert loss.isfinite()
    loss.backward()
    assert [name for name, p in trained.items() if p.grad is None or not p.grad.isfinite().all()] == []
    optimizer.step()
    assert sum(not torch.equal(p, before[name]) for name, p in trained.items()) > len(trained) / 2


def _narrow(config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(
        config,
        backbone=config.backbone if "timm:" in config.backbone.name else dataclasses.replace(config.backbone, width=4),
        fpn=dataclasses.replace(config.fpn, channels=16),
        bases=dataclasses.replace(config.bases, channels=16),
        semantic=dataclasses.replace(config.semantic, channels=16),
    )


@every_config
def test_narrow_model_takes_a_training_step(name: str) -> None:
    torch.manual_seed(0)
    _take_one_step(build_model(_narrow(_config(name)), coco_categories()), size=96)


@every_config
def test_configuration_is_inferred_from_the_published_names(name: str) -> None:
    config = _narrow(_config(name))
    model = build_model(config, coco_categories())
    rules = parameter_rules(config.fpn.finest_level)
    theirs = {str(translate(ours, rules)): tensor for ours, tensor in model.state_dict().items()}
    converted = from_adelaidet(theirs)

    expected = coco_categories() if config.semantic.enabled else Categories(coco_categories().things)
    assert converted.categories == expected
    tensors = converted.state_dict()
    assert tensors.keys() == model.state_dict().keys()
    for ours, tensor in model.state_dict().items():
        assert torch.equal(tensors[ours], tensor), ours
    inferred = converted.config
    for part in ("fcos", "bases", "masks", "fpn"):
        assert getattr(inferred, part) == getattr(config, part)
    backbone = dataclasses.replace(inferred.backbone, stem_width=0)
    if not backbone.deformable_stages:
        backbone.deformable_interval = config.backbone.deformable_interval
    assert backbone == config.backbone
    for setting in ("pixel_mean", "pixel_std", "channel_order"):
        assert tuple(getattr(inferred.input, setting)) == tuple(getattr(config.input, setting))


def test_projections_that_dla_never_reads_are_left_out() -> None:
    model = build_model(_narrow(_config("dla34_4x_syncbn")), coco_categories())
    theirs = {str(translate(ours, parameter_rules(3))): tensor for ours, tensor in model.state_dict().items()}
    for level, channels in ((3, 128), (4, 256)):
        theirs[f"backbone.bottom_up.level{level}.project.0.weight"] = torch.rand(channels, channels // 2, 1, 1)
        theirs[f"backbone.bottom_up.level{level}.project.1.weight"] = torch.rand(channels)
    tensors = from_adelaidet(theirs).state_dict()
    assert all(torch.equal(tensors[ours], tensor) for ours, tensor in model.state_dict().items())
    theirs["backbone.bottom_up.level6.project.0.weight"] = torch.rand(1)
    with pytest.raises(CheckpointError, match=r"surplus: backbone\.bottom_up\.level6\.project\.0\.weight"):
        from_adelaidet(theirs)


def test_yaml_of_dla_is_read() -> None:
    name, body = "MODEL:\n  BACKBONE:\n    NAME: build_fcos_dla_fpn_backbone\n", "  DLA:\n    CONV_BODY: {}\n"
    levels = "  FPN:\n    IN_FEATURES: [level3, level4, level5]\n  PANOPTIC_FPN:\n    COMBINE:\n      ENABLED: false\n"
    read = model_config(read_settings(name + body.format("DLA34") + levels))
    assert (read.backbone.name, read.fpn.finest_level) == ("timm:dla34", 3)
    with pytest.raises(CheckpointError, match=r"MODEL\.DLA\.CONV_BODY is 'DLA60'; only 'DLA34' can be converted"):
        model_config(read_settings(name + body.format("DLA60") + levels))


@pytest.mark.slow
@every_config
def test_full_model_takes_a_training_step(name: str) -> None:
    torch.manual_seed(0)
    _take_one_step(build_model(_config(name), coco_categories()), size=128)
