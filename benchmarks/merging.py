"""Masks in boxes and stuff logits to a panoptic map: this package against detectron2's paste and combine."""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from benchmarks.peers import import_peer
from benchmarks.turns import print_ratios, take_turns
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.modeling.postprocess.merge import merge
from panoptic_blend.modeling.postprocess.stuff import semantic_labels
from panoptic_blend.structures import Instances


def make_scene(size: tuple[int, int], instances: int, classes: int, seed: int = 0) -> tuple[Instances, Tensor]:
    """Elliptic objects of all sizes, and logits [classes, H / 4, W / 4] as smooth as a network's."""
    torch.manual_seed(seed)
    height, width = size
    centre = torch.rand(instances, 2) * torch.tensor([width, height])
    half = torch.exp(torch.rand(instances, 2) * 2.5 + 2.5)  # 12 to 148 pixels
    boxes = torch.cat([centre - half, centre + half], dim=1)
    boxes = torch.stack([boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)], dim=-1).flatten(1)
    place = torch.linspace(-1, 1, 56)
    patch = (4 * (1 - place[:, None] ** 2 - place**2) + torch.randn(instances, 56, 56) * 0.3).sigmoid()
    scores = torch.rand(instances).sort(descending=True).values * 0.5 + 0.5
    labels = torch.randint(0, 80, (instances,))
    coarse = torch.randn(1, classes, height // 64, width // 64)
    logits = F.interpolate(coarse, (height // 4, width // 4), mode="bicubic")[0]
    return Instances(boxes, scores, labels, patch, size), logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="800x1216")
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    height, width = map(int, options.size.split("x"))
    size = (height, width)
    instances, logits = make_scene(size, options.instances, 54)
    categories = coco_categories()

    structures = import_peer("detectron2.structures")
    post = import_peer("detectron2.modeling.postprocessing")
    combine = import_peer("detectron2.modeling.meta_arch.panoptic_fpn").combine_semantic_and_instance_outputs

    def theirs() -> Tensor:
        found = structures.Instances(
            size,
            pred_boxes=structures.Boxes(instances.boxes.clone()),
            scores=instances.scores,
            pred_classes=instances.labels,
            pred_masks=instances.mask_patches[:, None],
        )
        upsampled = F.interpolate(logits[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
        semantic = post.sem_seg_postprocess(upsampled, size, *size)
        return combine(post.detector_postprocess(found, *size), semantic.argmax(dim=0), 0.4, 4096, 0.45)[0]

    def ours() -> np.ndarray:
        return merge(instances, semantic_labels(logits, size, size), categories)[0]

    agreement = (theirs().numpy() == ours()).mean()
    Console().print(f"{agreement:.6%} of {height * width} pixels are equal", highlight=False)
    title = f"{options.instances} instances at {options.size}, {options.threads} threads"
    print_ratios(title, take_turns({"detectron2": theirs, "panoptic_blend": ours}, options.rounds))


if __name__ == "__main__":
    main()
