"""What happens inside the model on one image, step by step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.config import PredictionSettings
from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import ConfigError
from panoptic_blend.files.images import to_colors
from panoptic_blend.inference.predictor import ImageLike, to_pixels
from panoptic_blend.inference.torch_model import TorchModel
from panoptic_blend.modeling.network.bases import BASES_STRIDE
from panoptic_blend.modeling.network.masks.blender import Blender
from panoptic_blend.modeling.network.masks.crop import crop_regions
from panoptic_blend.modeling.postprocess.instances import place_in_output, resize_boxes
from panoptic_blend.modeling.postprocess.merge import Placement, place_instances
from panoptic_blend.structures import PanopticPrediction


@dataclass(frozen=True)
class Blend:
    """How one instance's mask came about (BlendMask, eqs. 1 to 4).

    Attributes:
        placement: what the merge decided about it.
        box: [4] XYXY pixels.
        regions: [K, R, R] bases cropped to the box.
        weights: [K, R, R] attention grown to the mask's size and normalised.
        logits: [R, R] the mask; above 0 is the object.
    """

    placement: Placement
    box: Tensor
    regions: Tensor
    weights: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Explanation:
    """Every step of one prediction, at the size the network saw.

    Attributes:
        image: uint8 RGB [3, H, W]; of other bands, the first three.
        bases: [K, H / 4, W / 4], padding removed.
        blends: of the chosen instances.
        placements: the merge's decision about every instance with a sufficient score, best first.
        stuff_areas: pixels left for each stuff category after the instances, in the order of `categories.stuff`.
        prediction: the result.
        settings: what it was made with.
    """

    image: Tensor
    bases: Tensor
    blends: list[Blend]
    placements: list[Placement]
    stuff_areas: list[int]
    prediction: PanopticPrediction
    settings: PredictionSettings


@torch.no_grad()
def explain(engine: TorchModel, image: ImageLike, instances: int = 3) -> Explanation:
    """Predict one image and keep what the blender and the merge worked with.

    Args:
        instances: how many instances to follow through the blender; see `choose`.

    Raises:
        ConfigError: the model has no things, or a mask head other than the blender.
        DatasetError: an image that cannot be read.
    """
    model, steps = engine.model, engine.model.postprocess
    head = model.mask_head
    if head is None:
        raise ConfigError(
            "The model knows stuff categories only; explain shows how masks of things come about. Use `predict`."
        )
    if not isinstance(head, Blender):
        raise ConfigError(
            f"model.masks.head is {model.config.masks.head!r}; attention maps and how they mix the bases can be shown "
            "for 'blender' only."
        )
    pixels = to_pixels(image, model.channels)
    resized = model.resize(to_tensor(pixels))
    size = (resized.shape[1], resized.shape[2])
    output = model.network(model.input_rule([resized]))
    detections = steps.detect(output, 0)
    logits = steps.draw_masks(output, detections)
    found = place_in_output(detections, logits, size, size)
    semantic = steps.label_stuff(output, 0, size, size)
    id_map, segments = steps.merge(found, semantic)
    things_map, placements = place_instances(found, steps.settings.min_score, steps.settings.max_overlap)

    assert output.bases is not None
    boxes, has_area = resize_boxes(detections.boxes, size, size)
    rows = has_area.nonzero().flatten().tolist()  # of the detections that became instances
    regions = crop_regions(
        output.bases, detections.boxes, detections.sites.image, BASES_STRIDE, head.resolution, head.pooling
    )
    attention = head.attention(output.detector.towers, detections.sites).to(regions.dtype)
    grown = F.interpolate(attention, (head.resolution, head.resolution), mode=head.interpolation)
    weights = grown.softmax(dim=1) if head.num_maps > 1 else grown.sigmoid()
    blends = []
    for placement in choose(placements, found.labels.tolist(), instances):
        row = rows[placement.index]
        blends.append(Blend(placement, boxes[row].cpu(), regions[row].cpu(), weights[row].cpu(), logits[row].cpu()))
    left = semantic.long()[things_map == 0]
    stuff_areas = torch.bincount(left, minlength=1 + len(model.categories.stuff)).tolist()[1:]
    height, width = (-(-side // BASES_STRIDE) for side in size)
    bases = output.bases[0, :, :height, :width].float().cpu()
    prediction = PanopticPrediction(id_map, segments, found, semantic.numpy())
    drawn = model.resize(to_tensor(to_colors(pixels))).cpu()
    return Explanation(drawn, bases, blends, placements, stuff_areas, prediction, replace(steps.settings))


def choose(placements: list[Placement], labels: list[int], count: int) -> list[Placement]:
    """The instances to look at: of those that were kept the largest of every category, then the second largest..."""
    kept = sorted((each for each in placements if each.segment_id), key=lambda each: -each.free_area)
    seen: Counter[int] = Counter()
    ranked = []
    for order, each in enumerate(kept):
        ranked.append((seen[labels[each.index]], order, each))
        seen[labels[each.index]] += 1
    return [each for _, _, each in sorted(ranked)[:count]]
