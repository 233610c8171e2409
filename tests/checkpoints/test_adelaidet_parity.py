"""The reference implementation's recorded numbers, stage by stage, from our model with its converted weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.categories import IGNORE, Categories
from panoptic_blend.checkpoints.adelaidet import from_adelaidet, parameter_rules
from panoptic_blend.checkpoints.naming import translate
from panoptic_blend.inference.preparation import prepare
from panoptic_blend.modeling.network.locations import Sites, locate
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.pasting import paste_mask
from panoptic_blend.structures import Instances, PanopticPrediction, Targets
from tests.checkpoints.recordings import RECORDINGS, read_recording

# Kinds of CPUs and numbers of threads add up in other orders. Tolerances are of two sorts: what rounding may change in
# a stage, and what follows from it for the stages behind. A pixel that this could bring to the other side of a decision
# belongs to neither; all others must be equal, not nearly all of them.
RELATIVE = 2e-5  # of a stage's largest value; between AVX512, AVX2 and neither, 1 and 2 threads, it is 4e-6 at most
SCORE = 1e-5
PATCH = 1e-4  # of a probability, at equal boxes
HALF = 2**-11  # rounding of what is recorded in half precision, as a share of the value


@pytest.fixture(scope="module", params=["panoptic_r50", "rt_r50", "larger panoptic_r50", "larger rt_r50"])
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The small recordings of this repository, and larger ones where they are kept beside the project."""
    *larger, name = request.param.split()
    if larger:
        return read_larger_recording(request.getfixturevalue("shared") / "parity" / f"{name}.pt")
    return read_recording(RECORDINGS, name)


def read_larger_recording(path: Path) -> dict[str, Any]:
    recording = torch.load(path, weights_only=True)
    for output in recording["outputs"]:
        width = output["mask_shape"][-1]
        output["masks"] = torch.from_numpy(np.unpackbits(output["masks_packed"], axis=-1)[..., :width].astype(bool))
        if "sem_seg" in output:
            output["semantic"] = output["sem_seg"].float().argmax(0)
    return recording


@pytest.fixture(scope="module")
def plain_model(recording: dict[str, Any]) -> PanopticBlend:
    return from_adelaidet(weights(recording), recording["config"])


@pytest.fixture(scope="module", params=[False, True], ids=["as_it_is", "prepared"])
def model(request: pytest.FixtureRequest, plain_model: PanopticBlend) -> PanopticBlend:
    """The model, and the copy of it that is made for speed."""
    return prepare(plain_model, torch.device("cpu"), "fp32") if request.param else plain_model


@pytest.fixture(scope="module")
def predictions(model: PanopticBlend, recording: dict[str, Any]) -> list[PanopticPrediction]:
    samples = recording["samples"]
    return model.predict([_rgb(s) for s in samples], [_output_size(s) for s in samples])


def weights(recording: dict[str, Any]) -> dict[str, Tensor]:
    """As AdelaiDet has them; small recordings hold them in half precision, to which they were rounded beforehand."""
    return {n: v.float() if v.is_floating_point() else v for n, v in recording["state_dict"].items()}


def _rgb(sample: dict[str, Any]) -> Tensor:
    return sample["image"].flip(0)


def _output_size(sample: dict[str, Any]) -> tuple[int, int]:
    return sample["out_height"], sample["out_width"]


def _assert_close(ours: Tensor, recorded: Tensor) -> None:
    assert ours.shape == recorded.shape
    rounding = HALF * recorded.abs().float() if recorded.dtype == torch.float16 else 0.0
    assert ((ours - recorded).abs() <= RELATIVE * recorded.abs().max() + rounding).all()


@torch.no_grad()
def test_every_level_of_the_pyramid_equals_the_recording(plain_model: PanopticBlend, recording: dict[str, Any]) -> None:
    network = plain_model.network
    pyramid = network.fpn(network.backbone(plain_model.input_rule([_rgb(recording["samples"][0])])))
    assert {f"p{level}" for level in pyramid} == recording["stages"]["features"].keys()
    for level, feature in pyramid.items():
        _assert_close(feature, recording["stages"]["features"][f"p{level}"])


@torch.no_grad()
def test_every_output_of_the_network_equals_the_recording(model: PanopticBlend, recording: dict[str, Any]) -> None:
    stages = recording["stages"]
    output = model.network(model.input_rule([_rgb(recording["samples"][0])]))
    _assert_close(output.bases, stages["bases"])
    if "semantic" in stages:
        _assert_close(output.semantic, stages["semantic"])
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
    _assert_close(gathered, torch.cat([level[0].flatten(1).T for level in recording["stages"]["attention"]]))


def box_tolerance(recording: dict[str, Any], index: int) -> float:
    """How far the side of a box may be from the recorded one, in pixels of output `index`.

    It lies a distance from a cell, which the network gives in strides.
    """
    sample, distances = recording["samples"][index], recording["stages"]["box_regression"]
    furthest = max(level.max().item() * 8 * 2**i for i, level in enumerate(distances))
    return RELATIVE * furthest * max(_output_size(sample)) / max(sample["image"].shape)


def test_detections_equal_the_recording(predictions: list[PanopticPrediction], recording: dict[str, Any]) -> None:
    for index, (prediction, expected) in enumerate(zip(predictions, recording["outputs"], strict=True)):
        instances = prediction.instances
        assert instances.labels.tolist() == expected["classes"].tolist()
        assert (instances.boxes - expected["boxes"]).abs().max() <= box_tolerance(recording, index)
        assert (instances.scores - expected["scores"]).abs().max() <= SCORE


def test_masks_inside_boxes_equal_the_recording(
    predictions: list[PanopticPrediction], recording: dict[str, Any]
) -> None:
    for prediction, expected in zip(predictions, recording["outputs"], strict=True):
        if "patches" not in expected:
            pytest.skip("this recording has pasted masks only")
        assert (prediction.instances.mask_patches - expected["patches"]).abs().max() <= PATCH


def pasted_values(instances: Instances, boxes: Tensor) -> Tensor:
    """[N, H, W] foreground probabilities of the image's pixels, with other boxes than the instances' own."""
    values = torch.zeros((len(instances), *instances.size))
    for canvas, patch, box in zip(values, instances.mask_patches, boxes, strict=True):
        region, inside = paste_mask(patch, box, instances.size)
        canvas[region] = inside
    return values


def undecided_mask_pixels(instances: Instances, box_error: float) -> npt.NDArray[np.bool_]:
    """Which pixels [N, H, W] lie within rounding of 0.5, so that the recorded mask may have them or not.

    A pixel's value is a mean of the patch's values, which are within `PATCH` of the recorded ones. It also changes with
    the box, by as much as it changes when each side moves by its error: once because the patch is pasted there, and
    once because it was cropped there.
    """
    values = pasted_values(instances, instances.boxes)
    change = torch.zeros_like(values)
    for side in range(4):
        moved = instances.boxes.clone()
        moved[:, side] += box_error
        change += (pasted_values(instances, moved) - values).abs()
    undecided = (values - 0.5).abs() <= PATCH + 2 * change

    # Parts of a box outside the map read as logit 0, a value of 0.5: they are undecided in the reference too.
    outside_the_map = (values - 0.5).abs() <= 1e-6
    assert (undecided & ~outside_the_map).sum() <= 0.02 * (values > 0).sum(), "only pixels on borders may be left out"
    return undecided.numpy()


def test_masks_equal_the_recording(predictions: list[PanopticPrediction], recording: dict[str, Any]) -> None:
    for index, (prediction, expected) in enumerate(zip(predictions, recording["outputs"], strict=True)):
        ours, recorded = prediction.instances.masks, expected["masks"]
        assert ours.shape == recorded.shape
        undecided = undecided_mask_pixels(prediction.instances, box_tolerance(recording, index))
        assert ((ours == recorded).numpy() | undecided).all()


@pytest.fixture(scope="module")
def semantic_logits(model: PanopticBlend, recording: dict[str, Any]) -> list[Tensor]:
    """Of every image at its output size, [1 + S, H, W]."""
    samples = recording["samples"]
    if "panoptic" not in recording["outputs"][0]:
        pytest.skip("an instance-only model has no semantic branch")
    with torch.no_grad():
        logits = model.network(model.input_rule([_rgb(s) for s in samples])).semantic
    upsampled = F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)
    resized = []
    for each, sample in zip(upsampled, samples, strict=True):
        image_alone = each[None, :, : sample["image"].shape[1], : sample["image"].shape[2]]
        resized.append(F.interpolate(image_alone, _output_size(sample), mode="bilinear", align_corners=False)[0])
    return resized


def test_semantic_logits_equal_the_recording(semantic_logits: list[Tensor], recording: dict[str, Any]) -> None:
    for logits, expected in zip(semantic_logits, recording["outputs"], strict=True):
        if "sem_seg" not in expected:
            pytest.skip("this recording has them among the outputs of the network")
        _assert_close(logits, expected["sem_seg"])


def undecided_stuff_pixels(logits: Tensor, also: float = 0.0) -> npt.NDArray[np.bool_]:
    """Where [H, W] the two best classes lie within rounding of each other.

    Args:
        logits: [1 + S, H, W].
        also: rounding of the recorded logits themselves, as a share of each.
    """
    best, second = logits.topk(2, dim=0).values
    undecided = best - second <= 2 * (RELATIVE * logits.abs().max() + also * logits.abs().amax(dim=0))
    assert undecided.float().mean() <= 0.02
    return undecided.numpy()


def test_semantic_maps_equal_the_recording(
    predictions: list[PanopticPrediction], semantic_logits: list[Tensor], recording: dict[str, Any]
) -> None:
    for prediction, logits, expected in zip(predictions, semantic_logits, recording["outputs"], strict=True):
        undecided = undecided_stuff_pixels(logits, also=HALF if "sem_seg" in expected else 0.0)
        assert ((prediction.semantic == expected["semantic"].numpy()) | undecided).all()


def test_panoptic_maps_equal_the_recording(
    predictions: list[PanopticPrediction],
    semantic_logits: list[Tensor],
    recording: dict[str, Any],
    model: PanopticBlend,
) -> None:
    for index, (prediction, expected) in enumerate(zip(predictions, recording["outputs"], strict=True)):
        # None of these hangs on a few pixels: the recorded weights were chosen so.
        ours = [(s.id, s.is_thing, _label(s.category_id, model.categories)) for s in prediction.segments]
        assert ours == [(s["id"], s["isthing"], s["category_id"]) for s in expected["segments_info"]]
        undecided = undecided_mask_pixels(prediction.instances, box_tolerance(recording, index)).any(axis=0)
        undecided |= undecided_stuff_pixels(semantic_logits[index])
        assert undecided.mean() <= 0.1
        assert ((prediction.id_map == expected["panoptic"].numpy()) | undecided).all()


def _label(category_id: int, categories: Categories) -> int:
    if categories.by_id(category_id).is_thing:
        return categories.thing_label(category_id)
    return categories.semantic_label(category_id)


def _semantic(sample: dict[str, Any]) -> Tensor:
    """The recorded map, where 255 is ignored; of an instance-only model nothing is read."""
    recorded = sample.get("sem_seg", torch.zeros(sample["image"].shape[1:], dtype=torch.int64))
    return recorded.masked_fill(recorded == 255, IGNORE)


def losses_and_gradient_norms(
    recording: dict[str, Any], nudge: float = 0.0, seed: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    """Losses and the norms of their gradients under AdelaiDet's names, with weights that are off by a share of each."""
    model = from_adelaidet(weights(recording), recording["config"]).train()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data *= 1 + nudge * torch.randn(parameter.shape, generator=generator)
    samples = recording["samples"]
    targets = [Targets.from_masks(s["boxes"], s["classes"], s["masks"], _semantic(s)) for s in samples]
    losses = model([_rgb(s) for s in samples], targets)
    torch.stack(list(losses.values())).sum().backward()
    rules = parameter_rules(model.config.fpn.finest_level)
    norms = {
        translate(name, rules): parameter.grad.norm().item()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return {name: loss.item() for name, loss in losses.items()}, norms


def test_losses_and_gradients_equal_the_recording(recording: dict[str, Any]) -> None:
    losses, norms = losses_and_gradient_norms(recording)
    assert losses.keys() == recording["losses"].keys()
    for name, loss in losses.items():
        assert loss == pytest.approx(recording["losses"][name], rel=RELATIVE), name

    assert norms.keys() == recording["gradient_norms"].keys()
    moved = dict.fromkeys(norms, 0.0)
    if norms_by_batch_statistics(recording):
        # Over few pixels these magnify rounding until inputs of ReLUs change their signs, where gradients jump. Weights
        # that are off by little more than rounding tell how far.
        nudged = [losses_and_gradient_norms(recording, nudge=1e-5, seed=seed)[1] for seed in range(4)]
        moved = {name: max(abs(each[name] - norm) for each in nudged) for name, norm in norms.items()}
        far = [name for name, norm in norms.items() if moved[name] > 0.05 * norm + 1e-5]
        assert len(far) <= 0.1 * len(norms)
    for name, norm in recording["gradient_norms"].items():
        # Biases in front of a norm have no gradient but rounding errors, of the size of the convolution's.
        of_the_layer = recording["gradient_norms"].get(name.replace("bias", "weight"), norm)
        assert abs(norms[name] - norm) <= 1e-4 * norm + 1e-6 * of_the_layer + 2 * moved[name], name


def norms_by_batch_statistics(recording: dict[str, Any]) -> bool:
    """Whether the backbone is trained with the statistics of the batch, as in the larger recording of BlendMask-RT."""
    return from_adelaidet(weights(recording), recording["config"]).config.backbone.norm == "batch"


def test_configuration_inferred_from_shapes_is_the_recorded_one(
    recording: dict[str, Any], model: PanopticBlend
) -> None:
    inferred = from_adelaidet(weights(recording)).config
    for part in ("backbone", "fpn", "bases"):
        assert getattr(inferred, part) == getattr(model.config, part)
    assert inferred.masks.resolution == 56  # no shape tells it
    assert replace(inferred.masks, resolution=model.config.masks.resolution) == model.config.masks
    for setting in ("num_convs", "num_shared_convs", "norm", "level_scales", "sizes_of_interest"):
        assert getattr(inferred.fcos, setting) == getattr(model.config.fcos, setting)
    assert inferred.semantic.enabled == model.config.semantic.enabled
