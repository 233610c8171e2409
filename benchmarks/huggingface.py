"""Panoptic models of Hugging Face's `transformers` with random weights, to be timed beside this package's."""

from __future__ import annotations

import logging
import sys
from typing import Any

import torch

from benchmarks.peers import import_peer
from panoptic_blend.benchmarking.timing import Clock
from panoptic_blend.files.images import Pixels

EOMT_T, EOMT, EOMT_B, MASK2FORMER = "EoMT-T", "EoMT-S", "EoMT-B", "Mask2Former R-50"
_HEADS = {EOMT_T: 3, EOMT: 6, EOMT_B: 12}
"""Attention heads of 64 channels in ViT-T, ViT-S and ViT-B."""
CATEGORIES = 133
"""Of COCO."""


class HuggingFace:
    """One of their models with its own processor before and behind it.

    Args:
        name: `EOMT_T`, `EOMT`, `EOMT_B` or `MASK2FORMER`.
        size: (height, width) of the pictures, which the network sees as they are.
    """

    def __init__(self, name: str, size: tuple[int, int]):
        theirs: Any = import_peer("transformers", "run `pip install transformers`")
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self.size = size
        made = _mask2former(theirs, size) if name == MASK2FORMER else _eomt(theirs, size, name)
        self.model, self.processor = made
        self.model.eval()

    @torch.no_grad()
    def run(self, picture: Pixels, clock: Clock) -> int:
        """Predict a picture, stage by stage; how many segments there are.

        Random weights are sure of nothing, so every query is kept that does not say "no object".
        """
        with clock.measure("input"):
            pixels = self.processor(picture, return_tensors="pt")["pixel_values"]
        with clock.measure("network"):
            output = self.model(pixels)
        with clock.measure("rest"):
            found = self.processor.post_process_panoptic_segmentation(output, threshold=0.0, target_sizes=[self.size])
        return len(found[0]["segments_info"])


def _eomt(theirs: Any, size: tuple[int, int], name: str) -> tuple[Any, Any]:
    """EoMT as published for COCO: a ViT whose last three blocks read 200 queries, without masked attention."""
    if size[0] != size[1]:
        sys.exit(f"{name} takes square pictures alone, not {size[0]}x{size[1]}: leave it out, or give --size 640x640.")
    config = theirs.EomtConfig(
        hidden_size=64 * _HEADS[name],
        num_attention_heads=_HEADS[name],
        num_hidden_layers=12,
        num_blocks=3,
        num_queries=200,
        image_size=size[0],
        patch_size=16,
        num_labels=CATEGORIES,
    )
    model = theirs.EomtForUniversalSegmentation(config)
    model.attn_mask_probs.zero_()  # as at the end of its training
    edges = {"shortest_edge": size[0], "longest_edge": size[0]}
    return model, theirs.EomtImageProcessor(size=edges, do_split_image=False, do_pad=True)


def _mask2former(theirs: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    """Mask2Former as published for COCO: ResNet-50, 100 queries, nine decoder layers."""
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = theirs.ResNetConfig(out_features=stages)
    model = theirs.Mask2FormerForUniversalSegmentation(
        theirs.Mask2FormerConfig(backbone_config=backbone, num_queries=100, num_labels=CATEGORIES)
    )
    return model, theirs.Mask2FormerImageProcessor(size={"height": size[0], "width": size[1]})
