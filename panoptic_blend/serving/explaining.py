"""How the mask of one object came about, as pictures (BlendMask, eqs. 1 to 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import box_iou

from panoptic_blend.config import MergeConfig
from panoptic_blend.files.images import Pixels
from panoptic_blend.inference.explain import Blend, explain
from panoptic_blend.inference.torch_model import TorchModel
from panoptic_blend.modeling.postprocess.merge import place_instances
from panoptic_blend.serving.limits import Refusal
from panoptic_blend.structures import PanopticPrediction

FOR, AGAINST, SHARE = (178, 24, 43), (33, 102, 172), (84, 39, 143)
"""Colours of numbers above 0, of those below, and of a share from 0 to 1; what is 0 is white."""


@dataclass(frozen=True)
class Followed:
    """One object on its way through the blender.

    Attributes:
        category_id: its own.
        score: its own.
        box: XYXY in pixels of the picture.
        bases: over the whole picture, K of them.
        regions: the bases inside the box.
        attention: how much the object listens to each basis, and where.
        products: of these two.
        mask: their sum; where it is red the object is.
    """

    category_id: int
    score: float
    box: tuple[float, float, float, float]
    bases: list[Image.Image]
    regions: list[Image.Image]
    attention: list[Image.Image]
    products: list[Image.Image]
    mask: Image.Image


def follow(
    model: TorchModel, image: Pixels, seen: PanopticPrediction, thresholds: MergeConfig, segment: int
) -> Followed:
    """Follow the object that a segment shows, by running the network once more.

    Args:
        model: with a blender. Its settings change.
        image: uint8 RGB [H, W, 3].
        seen: in this image.
        thresholds: with which the merge gave the segment its id.
        segment: its id.

    Raises:
        Refusal: no object has this id.
    """
    _, placements = place_instances(seen.instances, thresholds.min_score, thresholds.max_overlap)
    index = next((each.index for each in placements if each.segment_id == segment), None)
    if index is None:
        raise Refusal(404, "No object has this id; stuff has no mask of its own.")
    box = seen.instances.boxes[index].float().cpu()
    model.settings.max_overlap = 1.0  # whatever was painted is wanted, not what would stay at the network's size
    explanation = explain(model, image, model.settings.max_detections)
    (height, width), (rows, columns) = seen.instances.size, explanation.image.shape[-2:]
    scale = torch.tensor([columns / width, rows / height] * 2)
    label = int(seen.instances.labels[index])
    blend = _nearest(explanation.blends, explanation.prediction.instances.labels, box * scale, label)
    if blend is None:
        raise Refusal(404, "At the network's size this object has no mask of its own.")
    products = blend.weights.float() * blend.regions.float()
    limit = max(float(values.abs().max()) for values in (blend.regions, products, blend.logits))
    left, top, right, bottom = (round(side, 1) for side in box.tolist())
    return Followed(
        category_id=model.categories.things[label].id,
        score=float(seen.instances.scores[index]),
        box=(left, top, right, bottom),
        bases=[_signed(basis, float(basis.abs().quantile(0.98))) for basis in explanation.bases],
        regions=[_signed(values, limit) for values in blend.regions],
        attention=[_share(values) for values in blend.weights],
        products=[_signed(values, limit) for values in products],
        mask=_signed(blend.logits, limit),
    )


def _nearest(blends: list[Blend], labels: Tensor, box: Tensor, label: int) -> Blend | None:
    """The instance of this label whose box covers most of a box; rounding may have changed their order."""
    same = [each for each in blends if int(labels[each.placement.index]) == label]
    if not same:
        return None
    overlaps = box_iou(torch.stack([each.box.float() for each in same]), box[None])
    return same[int(overlaps.argmax())]


def _signed(values: Tensor, limit: float) -> Image.Image:
    """Numbers [H, W] from `-limit` (blue) over 0 (white) to `limit` (red)."""
    share = (values.float().numpy() / max(limit, 1e-6)).clip(-1, 1)
    return _mix(np.abs(share), np.where(share[..., None] > 0, FOR, AGAINST))


def _share(values: Tensor) -> Image.Image:
    """Numbers [H, W] from 0 (white) to 1."""
    return _mix(values.float().numpy().clip(0, 1), np.array(SHARE))


def _mix(share: npt.NDArray[np.float32], color: npt.NDArray[np.int64]) -> Image.Image:
    mixed = 255 + share[..., None] * (color - 255)
    return Image.fromarray(mixed.round().astype(np.uint8))
