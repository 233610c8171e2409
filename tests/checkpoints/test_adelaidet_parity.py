"""The reference implementation's recorded numbers, stage by stage, from our model with its converted weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.checkpoints.adelaidet import from_adelaidet, parameter_rules
from panoptic_blend.checkpoints.naming import translate
from panoptic_blend.inference.preparation import prepare
from panoptic_blend.modeling.network.locations import Sites, locate
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.pasting import paste_mask
from panoptic_blend.structures import PanopticPrediction, Targets

CASES = ("panoptic_r50", "rt_r50")
RELATIVE = 1e-4


@pytest.fixture(scope="module", params=CASES)
def recording(request: pytest.FixtureRequest, shared: Path) -> dict[str, Any]:
    return torch.load(shared / "parity" / f"{request.param}.pt", weights_only=True)


@pytest.fixture(scope="module")
def model(recording: dict[str, Any]) -> PanopticBlend:
    return from_adelaidet(recording["state_dict"], recording["config"])


@pytest.fixture(scope="module", params=[False, True], ids=["as_it_is", "prepared"])
def prepared(request: pytest.FixtureRequest) -> bool:
    """Whether the predictions are those of the copy that is made for speed."""
    return request.param


@pytest.fixture(scope="module")
def predictions(model: PanopticBlend, recording: dict[str, Any], prepared: bool) -> list[PanopticPrediction]:
    samples = recording["samples"]
    if prepared:
        model = prepare(model, torch.device("cpu"), "fp32")
    return model.predict([_rgb(s) for s in samples], [(s["out_height"], s["out_width"]) for s in samples])


def _rgb(sample: dict[str, Any]) -> Tensor:
    return sample["image"].flip(0)


def _assert_close(ours: Tensor, recorded: Tensor) -> None:
    """Within a share of the stage's largest value."""
    assert ours.shape == recorded.shape
    assert (ours - recorded).abs().max() <= RELATIVE * recorded.abs().max()


@torch.no_grad()
def test_every_stage_of_the_network_equals_the_recording(model: PanopticBlend, recording: dict[str, Any]) -> None:
    stages, network = recording["stages"], model.network
    batch = model.input_rule([_rgb(recording["samples"][0])])
    pyramid = network.fpn(network.backbone(batch))
    assert {f"p{level}" for level in pyramid} == stages["features"].keys()
    for level, feature in pyramid.items():
        _assert_close(feature, stages["features"][f"p{level}"])

    output = network(batch)
    _assert_close(output.bases, stages["bases"])
    for level in range(len(model.postprocess.strides)):
        _assert_close(output.detector.class_logits[level], stages["class_logits"][level])
        _assert_close(output.detector.distances[level], stages["box_regression"][level])
        _assert_close(output.detector.centerness[level], stages["centerness"][level])


@torch.no_grad()
def test_attention_gathered_at_every_cell_equals_the_recorded_dense_map(
    model: PanopticBlend, recording: dict[str, Any]
) -> None:
    towers = model.network(model.input_rule([_rgb(recording["samples"][0])])).detector.towers
    locations = locate(towers, model.postprocess.strides)
    every = torch.arange(len(locations.level))
    gathered = model.mask_head.attention(towers, Sites.at(locations, torch.zeros_like(every), every)).flatten(1)
    dense = torch.cat([level[0].flatten(1).T for level in recording["stages"]["attention"]])
    rounding = dense.float().abs() * 2**-11  # it is recorded in half precision
    assert ((gathered - dense.float()).abs() <= RELATIVE * dense.abs().max() + rounding).all()


def test_detections_equal_the_recording(predictions: list[PanopticPrediction], recording: dict[str, Any]) -> None:
    for prediction, expected in zip(predictions, recording["outputs"], strict=True):
        instances = prediction.instances
        assert instances.labels.tolist() == expected["classes"].tolist()
        assert (instances.boxes - expected["boxes"]).abs().max() <= 1e-2
        assert (instances.scores - expected["scores"]).abs().max() <= 1e-5


def compared_pixels(prediction: PanopticPrediction, prepared: bool) -> Iterator[np.ndarray]:
    """Where each mask must equal the recording: everywhere, but in a prepared model where it is not exactly undecided.

    The parts of a box outside the map read as logit 0. There the last bit of the box decides, also in the reference.
    """
    instances = prediction.instances
    for patch, box in zip(instances.mask_patches, instances.boxes, strict=True):
        compared = np.ones(instances.size, bool)
        if prepared:
            region, values = paste_mask(patch, box, instances.size)
            compared[region] = ((values - 0.5).abs() > 1e-6).numpy()
        yield compared


def test_masks_equal_the_recording(
    predictions: list[PanopticPrediction], recording: dict[str, Any], prepared: bool
) -> None:
    for prediction, expected in zip(predictions, recording["outputs"], strict=True):
        width = expected["mask_shape"][-1]
        recorded = np.unpackbits(expected["masks_packed"].numpy(), axis=-1)[..., :width].astype(bool)
        ours = prediction.instances.masks.numpy()
        assert ours.shape == tuple(expected["mask_shape"])
        for mask, true, where in zip(ours, recorded, compared_pixels(prediction, prepared), strict=True):
            assert (mask == true)[where].mean() >= 0.9999


def test_panoptic_maps_equal_the_recording(
    predictions: list[PanopticPrediction], recording: dict[str, Any], model: PanopticBlend, prepared: bool
) -> None:
    if "panoptic" not in recording["outputs"][0]:
        pytest.skip("an instance-only model has no panoptic output")
    for prediction, expected in zip(predictions, recording["outputs"], strict=True):
        where = np.logical_and.reduce(list(compared_pixels(prediction, prepared)))
        assert where.mean() > 0.5
        assert (prediction.id_map == expected["panoptic"].numpy())[where].mean() >= 0.9999
        assert (prediction.semantic == expected["sem_seg"].float().argmax(0).numpy()).mean() >= 0.999  # half precision
        ours = [(s.id, s.is_thing, _label(s.category_id, model.categories)) for s in prediction.segments]
        assert ours == [(s["id"], s["isthing"], s["category_id"]) for s in expected["segments_info"]]


def _label(category_id: int, categories: Categories) -> int:
    if categories.by_id(category_id).is_thing:
        return categories.thing_label(category_id)
    return categories.semantic_label(category_id)


def test_losses_and_gradients_equal_the_recording(recording: dict[str, Any]) -> None:
    model = from_adelaidet(recording["state_dict"], recording["config"]).train()
    samples = recording["samples"]
    targets = [
        Targets(
            s["boxes"], s["classes"], s["masks"], s.get("sem_seg", torch.zeros(s["image"].shape[1:], dtype=torch.int64))
        )
        for s in samples
    ]
    losses = model([_rgb(s) for s in samples], targets)
    assert losses.keys() == recording["losses"].keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(recording["losses"][name], rel=RELATIVE), name

    torch.stack(list(losses.values())).sum().backward()
    rules = parameter_rules(model.config.fpn.finest_level)
    norms = {
        translate(name, rules): parameter.grad.norm().item()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    assert norms.keys() == recording["gradient_norms"].keys()
    for name, norm in recording["gradient_norms"].items():
        # Biases in front of a norm have no gradient but rounding errors.
        assert norms[name] == pytest.approx(norm, rel=1e-3, abs=1e-6), name


def test_configuration_inferred_from_shapes_is_the_recorded_one(
    recording: dict[str, Any], model: PanopticBlend
) -> None:
    inferred = from_adelaidet(recording["state_dict"]).config
    for part in ("backbone", "fpn", "bases", "masks"):
        assert getattr(inferred, part) == getattr(model.config, part)
    for setting in ("num_convs", "num_shared_convs", "norm", "level_scales", "sizes_of_interest"):
        assert getattr(inferred.fcos, setting) == getattr(model.config.fcos, setting)
    assert inferred.semantic.enabled == model.config.semantic.enabled
