"""A whole prediction, from a picture's pixels to its panoptic map, against AdelaiDet with the same weights."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.peers import load_adelaidet
from benchmarks.turns import print_ratios, take_turns
from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.memory import forget_peak_memory, peak_memory
from panoptic_blend.checkpoints.adelaidet import from_adelaidet
from panoptic_blend.coco.counting import count_pairs
from panoptic_blend.inference.preparation import prepare
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import IdMap

CPU = torch.device("cpu")
SAME_NAMES = {"class_logits": "cls_logits", "distances": "bbox_pred", "centerness": "ctrness"}


def load_pair(checkout: Path, image: Tensor, instances: int) -> tuple[Any, PanopticBlend]:
    """AdelaiDet's model and ours, of the same random weights, which find so many instances in an image."""
    reference, config = load_adelaidet(checkout)
    ours = from_adelaidet(reference.state_dict(), config)
    fire_detections(ours, image, instances)
    head = reference.proposal_generator.fcos_head
    for mine, theirs in SAME_NAMES.items():
        getattr(head, theirs).load_state_dict(getattr(ours.network.head, mine).state_dict())
    return reference, ours


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adelaidet", type=Path, required=True, metavar="DIR", help="a checkout of AdelaiDet")
    parser.add_argument("--size", default="800x1216")
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=["fp32", "bf16"], choices=["plain", "fp32", "bf16", "compiled"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    height, width = map(int, options.size.split("x"))
    image = torch.from_numpy(draw_image(height, width)).permute(2, 0, 1).contiguous()

    reference, ours = load_pair(options.adelaidet, image, options.instances)
    bgr = [{"image": image.flip(0).contiguous(), "height": height, "width": width}]

    console = Console(soft_wrap=True, highlight=False)
    ways: dict[str, Callable[[], object]] = {"AdelaiDet": lambda: reference(bgr)}
    makers = {
        "plain": lambda: ours,
        "fp32": lambda: prepare(ours, CPU, "fp32"),
        "bf16": lambda: prepare(ours, CPU, "bf16"),
        "compiled": lambda: prepare(ours, CPU, "bf16", compile=True),
    }
    for name in options.ways:
        model = makers[name]()
        ways[name] = partial(model.predict, [image])

    expected = reference(bgr)[0]["panoptic_seg"][0].numpy()
    for name, run in ways.items():
        forget_peak_memory(CPU)
        result = run()
        found = result[0]["panoptic_seg"][0].numpy() if name == "AdelaiDet" else result[0].id_map  # type: ignore[index]
        detections = len(result[0]["instances"] if name == "AdelaiDet" else result[0].instances)  # type: ignore[index]
        console.print(
            f"{name}: {detections} detections, {np.unique(found).size - 1} segments, {agreement(expected, found):.4%} "
            f"of the pixels in AdelaiDet's segments, peak {peak_memory(CPU):.0f} MiB with all models loaded"
        )
    print_ratios(f"{options.size}, {options.threads} threads", take_turns(ways, options.rounds))


def agreement(expected: IdMap, found: IdMap) -> float:
    """Share of the pixels that lie in corresponding segments, whatever their ids; those of most overlap correspond."""
    taken: set[tuple[str, int]] = set()
    pixels = 0
    pairs = zip(*(column.tolist() for column in count_pairs(expected, found)), strict=True)
    for first, second, count in sorted(pairs, key=lambda pair: -pair[2]):
        ends = {("expected", first), ("found", second)}
        if not ends & taken:
            taken |= ends
            pixels += count
    return pixels / expected.size


if __name__ == "__main__":
    main()
