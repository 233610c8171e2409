"""Every published layout and every mask head exports as a whole and gives what `predict` gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.categories import Categories
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config import ModelConfig
from panoptic_blend.config_files import read_config
from panoptic_blend.errors import CheckpointError
from panoptic_blend.exporting.export import export_model
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.network.backbone import ModulatedDeformConv
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from tests.exporting.test_graph import CATEGORIES, assert_same, open_graph, picture, predict
from tests.tiny import MASK_HEADS, tiny_model_config, tiny_model_config_with

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "coco"
PUBLISHED = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.endswith("_1x"))
"""All but those that differ from another in the length of training alone."""
SIZE = (120, 160)


def compare(config: ModelConfig, categories: Categories) -> None:
    """A model of random weights that sees much, beside its graph.

    Class logits are stretched, and what was rounded with them. The picture is large enough that no mask is a single
    pixel, which rounding may decide.
    """
    torch.manual_seed(0)
    config = replace(
        config,
        input=replace(config.input, shortest_edge=128, longest_edge=256),
        merge=replace(config.merge, min_score=0.3, max_overlap=0.9, min_stuff_area=1),
    )
    model = build_model(config, categories).eval()
    image = picture(*SIZE)
    seen = model.resize(torch.from_numpy(image).permute(2, 0, 1))
    settle(model, seen)
    fire_detections(model, seen, instances=20)
    assert model.network.head is not None
    torch.nn.init.constant_(model.network.head.distances.bias, 0.45)  # type: ignore[arg-type]
    expected = predict(model, image)
    assert len({each.category_id for each in expected.segments}) > 1
    assert_same(open_graph(model)(image), expected, tolerance=1e-3)


@torch.no_grad()
def settle(model: PanopticBlend, image: torch.Tensor) -> None:
    """Norms get the statistics of an image, without which random weights make ever larger numbers; kernels are bent."""

    def measure(norm: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance.clamp(min=1e-2))

    norms = [each for each in model.network.modules() if getattr(each, "running_var", None) is not None]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    for layer in model.network.modules():
        if isinstance(layer, ModulatedDeformConv):
            torch.nn.init.normal_(layer.offset.weight, std=0.01)
    model.network(model.input_rule([image]))
    for hook in hooks:
        hook.remove()


def thin(config: ModelConfig) -> ModelConfig:
    """The same layers with few channels; DLA is timm's, which has no thin one."""
    backbone = replace(config.backbone, width=8, frozen_stages=0)
    return replace(
        config,
        backbone=config.backbone if backbone.name.startswith("timm:") else backbone,
        fpn=replace(config.fpn, channels=64),
        bases=replace(config.bases, channels=64),
        semantic=replace(config.semantic, channels=64),
    )


def deformable() -> ModelConfig:
    config = tiny_model_config()
    return replace(config, backbone=replace(config.backbone, deformable_stages=(5,)))


def layout(name: str) -> ModelConfig:
    if "dla" in name:
        pytest.importorskip("timm")
    return read_config([FOLDER / f"{name}.yaml"]).model


@pytest.mark.slow
def test_a_deformable_model_gives_what_predict_gives() -> None:
    compare(deformable(), CATEGORIES)


@pytest.mark.slow
def test_openvino_refuses_deformable_models_in_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = build_model(deformable(), CATEGORIES)
    with pytest.raises(CheckpointError, match=r"^OpenVINO \S+ cannot run this network \(it lacks DeformConv"):
        export_model(model, tmp_path / "out", ExportSettings(format="openvino"))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_thin_published_layouts_give_what_predict_gives(name: str) -> None:
    compare(thin(layout(name)), coco_categories())


@pytest.mark.slow
@pytest.mark.parametrize("name", MASK_HEADS)
def test_models_of_every_mask_head_give_what_predict_gives(name: str) -> None:
    compare(tiny_model_config_with(name), CATEGORIES)
