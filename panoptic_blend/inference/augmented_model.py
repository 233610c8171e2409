"""Test-time augmentation: a picture is predicted several times, mirrored and at other sizes, and merged once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import ConfigError
from panoptic_blend.files.images import Bands
from panoptic_blend.inference.torch_model import AroundTorchModel, TorchModel
from panoptic_blend.modeling.network import NetworkOutput
from panoptic_blend.modeling.network.semantic import STRIDE
from panoptic_blend.modeling.postprocess.instances import place_in_output
from panoptic_blend.modeling.postprocess.stuff import semantic_labels
from panoptic_blend.resizing import resize_image, scaled
from panoptic_blend.structures import Instances, PanopticPrediction

LEAST_SCALE, LARGEST_SCALE = 0.25, 4.0


@dataclass(frozen=True)
class View:
    """One way to look at a picture: its scale, as a factor on the input size, and whether it is mirrored."""

    scale: float
    flipped: bool


def parse_views(text: str) -> list[View]:
    """The views that 'flip', 'scales=0.75,1,1.25' or 'flip,scales=0.75,1,1.25' asks for.

    Mirrored ones come beside those that are not; without scales there is scale 1.

    Raises:
        ConfigError: it is none of these, or a scale is out of bounds.
    """
    asked = _VIEWS.fullmatch(text)
    scales = [float(number) for number in (asked[1] or "1").split(",")] if asked else []
    if asked is None or not all(LEAST_SCALE <= scale <= LARGEST_SCALE for scale in scales):
        raise ConfigError(
            f"tta {text!r}: write flip, scales=0.75,1,1.25 or flip,scales=0.75,1,1.25, with scales from "
            f"{LEAST_SCALE:g} to {LARGEST_SCALE:g}."
        )
    sides = (False, True) if text.startswith("flip") else (False,)
    return [View(scale, flipped) for scale, flipped in product(dict.fromkeys(scales), sides)]


_NUMBER = r"\d+(?:\.\d+)?"
_VIEWS = re.compile(rf"flip|(?:flip,)?scales=({_NUMBER}(?:,{_NUMBER})*)")


class AugmentedModel(AroundTorchModel):
    """Joins what the views of a picture show before the merge: detections with their masks, and stuff.

    A detection is what views agree on: the best-scored one of every place stands for those of its class that overlap it
    by more than the suppression's IoU, at most one of each view. Its box and mask are their means, weighted by score;
    its score is the mean over all views, 0 where one has nothing. Stuff logits are averaged.

    Args:
        model: predicts each view.
        views: at least one.
    """

    has_detections = True

    def __init__(self, model: TorchModel, views: Sequence[View]):
        super().__init__(model)
        self.views = list(views)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the view at scale 1."""
        return self.model.input_size(height, width)

    @torch.no_grad()
    def predict(self, images: Sequence[Bands]) -> list[PanopticPrediction]:
        """Predict images of one `input_size`, [H, W, C] of 8 or 16 bits, at their own sizes."""
        self.settings.check()
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        input_size = self.input_size(*sizes[0])
        instances: list[list[Instances]] = [[] for _ in images]
        stuff: list[list[Tensor]] = [[] for _ in images]
        for view in self.views:
            seen = (scaled(input_size[0], view.scale), scaled(input_size[1], view.scale))
            output = self._look(images, seen, view.flipped)
            for index, size in enumerate(sizes):
                instances[index].append(self._instances(output, index, seen, size, view.flipped))
                if output.semantic is not None:
                    logits = output.semantic[index].float()
                    stuff[index].append(resample(logits, seen, input_size, view.flipped))
        return [
            self._merge(found, logits, input_size, size)
            for found, logits, size in zip(instances, stuff, sizes, strict=True)
        ]

    def _look(self, images: Sequence[Bands], seen: tuple[int, int], flipped: bool) -> NetworkOutput:
        model = self.model.model
        tensors = [resize_image(to_tensor(image).to(model.device), seen) for image in images]
        return model.network(model.input_rule([image.flip(-1) if flipped else image for image in tensors]))

    def _instances(
        self, output: NetworkOutput, index: int, seen: tuple[int, int], size: tuple[int, int], flipped: bool
    ) -> Instances:
        steps = self.model.model.postprocess
        detections = steps.detect(output, index)
        found = place_in_output(detections, steps.draw_masks(output, detections), seen, size)
        if flipped:
            left, top, right, bottom = found.boxes.unbind(dim=1)
            found.boxes = torch.stack([size[1] - right, top, size[1] - left, bottom], dim=1)
            found.mask_patches = found.mask_patches.flip(-1)
        return found

    def _merge(
        self, instances: list[Instances], stuff: list[Tensor], input_size: tuple[int, int], size: tuple[int, int]
    ) -> PanopticPrediction:
        joined = join(instances, self.settings.nms_iou, self.settings.max_detections)
        semantic = torch.zeros(size, dtype=torch.uint8)
        if stuff:
            semantic = semantic_labels(torch.stack(stuff).mean(dim=0), input_size, size).cpu()
        id_map, segments = self.model.model.postprocess.merge(joined, semantic)
        return PanopticPrediction(id_map, segments, joined, semantic.numpy())

    def made_with(self) -> dict[str, object]:
        """What predictions depend on beside the images, as JSON can hold it."""
        return {**self.model.made_with(), "views": [[view.scale, view.flipped] for view in self.views]}


def join(views: Sequence[Instances], iou: float, most: int) -> Instances:
    """What several views found in one picture as one list, best score first; see `AugmentedModel`.

    Args:
        views: of one size, each best score first.
        iou: of boxes, above which two detections of a class are of one thing.
        most: detections that are kept.
    """
    boxes, scores, labels, patches = (
        torch.cat([getattr(view, name) for view in views]) for name in ("boxes", "scores", "labels", "mask_patches")
    )
    kept = batched_nms(boxes, scores, labels, iou)
    overlap = box_iou(boxes[kept], boxes) * (labels[kept, None] == labels)
    weights, members = [], []
    first = 0
    for view in views:
        own = overlap[:, first : first + len(view)]
        # Without detections a view has nothing to say: a weight of 0 for any member.
        best, member = own.max(dim=1) if len(view) else (own.new_zeros(len(kept)), kept.new_zeros(len(kept)) - first)
        same = best > min(iou, 1 - 1e-6)  # a detection is always of one thing with itself
        weights.append(scores[member + first] * same if len(scores) else best)
        members.append(member + first)
        first += len(view)
    weight, member = torch.stack(weights, dim=1), torch.stack(members, dim=1)  # [kept, views]
    score = weight.mean(dim=1)
    share = weight / weight.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    order = score.argsort(descending=True, stable=True)[:most]
    share, member = share[order], member[order]
    return Instances(
        torch.einsum("kv,kvc->kc", share, boxes[member]),
        score[order],
        labels[kept[order]],
        torch.einsum("kv,kvhw->khw", share, patches[member]),
        views[0].size,
    )


def resample(cells: Tensor, seen: tuple[int, int], size: tuple[int, int], flipped: bool) -> Tensor:
    """A view's stride-4 map as that of the picture at `size`, not mirrored.

    Args:
        cells: [C, h, w] of the padded view.
        seen: (height, width) of the view without padding.
        size: (height, width) at which the picture is wanted.

    Returns:
        [C, height / 4, width / 4], rounded up.
    """
    y, x = (_centers(*lengths, cells.device) for lengths in zip(size, seen, strict=True))
    height, width = cells.shape[1] * STRIDE, cells.shape[2] * STRIDE
    if flipped:
        x = seen[1] - x
    rows, columns = torch.meshgrid(2 * y / height - 1, 2 * x / width - 1, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)
    return F.grid_sample(cells[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def _centers(length: int, seen: int, device: torch.device) -> Tensor:
    """Where the centers of the stride-4 cells of `length` pixels lie in a view that shows these as `seen` pixels."""
    return (torch.arange(-(-length // STRIDE), device=device) + 0.5) * STRIDE * (seen / length)
