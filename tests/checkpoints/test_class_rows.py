"""Every layer that grows with the number of categories is known, and a reordered model computes the same."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints import initialise, save_model
from panoptic_blend.checkpoints.class_rows import class_axes, match_categories
from panoptic_blend.config import ModelConfig
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from tests.tiny import MASK_HEADS, tiny_model_config_with

CAR, DOG = Category(1, "car", True, (0, 0, 0)), Category(2, "dog", True, (0, 0, 0))
SKY, SEA, SAND = (Category(i, name, False, (0, 0, 0)) for i, name in ((3, "sky"), (4, "sea"), (5, "sand")))


def _config(mask_head: str, bases: str) -> ModelConfig:
    config = tiny_model_config_with(mask_head)
    return dataclasses.replace(config, bases=dataclasses.replace(config.bases, kind=bases))


def _categories(things: int, stuff: int) -> Categories:
    return Categories([Category(i, f"c{i}", i < things, (0, 0, 0)) for i in range(things + stuff)])


@pytest.mark.parametrize("bases", ["shared", "fpn", "deeplab"])
@pytest.mark.parametrize("mask_head", MASK_HEADS)
def test_every_axis_that_depends_on_the_categories_is_known(mask_head: str, bases: str) -> None:
    config = _config(mask_head, bases)
    few, more = _categories(5, 7), _categories(6, 9)
    sizes = [build_model(config, each).state_dict() for each in (few, more)]
    found = set()
    for name in sizes[0]:
        for axis, pair in enumerate(zip(sizes[0][name].shape, sizes[1][name].shape, strict=True)):
            known = [each for each in class_axes(config) if each.axis == axis and re.fullmatch(each.name, name)]
            assert len(known) == (pair[0] != pair[1]), f"axis {axis} of {name}"
            for each in known:
                assert pair == (each.size(few), each.size(more)), name
                found.add(each)
    unused = set(class_axes(config)) - found
    assert {each.name for each in unused} <= {r"mask_head\.predictor\.(weight|bias)"}


def _outputs(model: PanopticBlend, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the network says of each category."""
    torch.manual_seed(0)  # for what drops out
    output = model.train().network(model.input_rule([image]))
    said = {}
    for category in model.categories:
        if category.is_thing:
            label = model.categories.thing_label(category.id)
            said[category.name] = output.detector.class_logits[0][:, label]
            said[f"{category.name} auxiliary"] = output.auxiliary[:, 1 + label]
        else:
            said[category.name] = output.semantic[:, model.categories.semantic_label(category.id)]
        if category.is_thing and output.bases is not None and model.config.masks.centermask_point.class_specific:
            said[f"{category.name} bases"] = output.bases[:, label]
        if category.is_thing and model.config.masks.head == "sag":
            said[f"{category.name} mask"] = model.mask_head.predictor.weight[label]
    return said


@pytest.mark.parametrize(
    ("mask_head", "bases"),
    [
        ("blender", "shared"),
        ("sag", "shared"),
        *(("centermask_point_by_class", bases) for bases in ("shared", "fpn", "deeplab")),
    ],
)
def test_a_model_for_reordered_categories_says_the_same_of_each(mask_head: str, bases: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = _config(mask_head, bases)
    trained = build_model(config, Categories([CAR, SKY, DOG, SEA, SAND]))
    torch.nn.init.normal_(trained.network.head.class_logits.bias)
    save_model(trained, tmp_path / "model.safetensors")
    model = build_model(config, Categories([SAND, DOG, SEA, CAR, SKY]))
    report = initialise(model, tmp_path / "model.safetensors")
    assert report.new_categories == report.missing == report.notes == []
    image = torch.rand(3, 64, 64) * 255
    expected, found = _outputs(trained, image), _outputs(model, image)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected["car"], expected["dog"], atol=1e-2)
    assert not torch.allclose(expected["sky"], expected["sea"], atol=1e-2)


def test_categories_match_by_name_and_kind_and_namesakes_by_id_too() -> None:
    ours = Categories([CAR, SKY, Category(7, "wall", False, (0, 0, 0)), Category(8, "wall", False, (0, 0, 0))])
    theirs = Categories(
        [
            Category(8, "wall", False, (0, 0, 0)),
            Category(9, "wall", False, (0, 0, 0)),
            Category(1, "sky", True, (0, 0, 0)),
            Category(30, "car", True, (9, 9, 9)),
        ]
    )
    pairs = [(mine.id, their.id) for mine, their in match_categories(ours, theirs)]
    assert pairs == [(1, 30), (8, 8)]
