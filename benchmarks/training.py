"""One training step, forward, backward and update, against AdelaiDet with the same weights and targets."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.peers import import_peer, load_adelaidet
from benchmarks.turns import print_ratios, take_turns
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.checkpoints.adelaidet import from_adelaidet
from panoptic_blend.modeling.network.winograd import compute_by_tiles
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Targets


def make_targets(size: tuple[int, int], instances: int, seed: int) -> Targets:
    """Rectangles of all sizes over a few bands of stuff."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    masks = torch.zeros(instances, height, width, dtype=torch.bool)
    semantic = (torch.arange(height)[:, None] * 6 // height + 1).expand(height, width).clone()
    boxes = []
    for mask in masks:
        half = (torch.exp(torch.rand(2, generator=generator) * 2.5 + 2.3)).int().tolist()
        x = int(torch.randint(half[0], width - half[0], (1,), generator=generator))
        y = int(torch.randint(half[1], height - half[1], (1,), generator=generator))
        mask[y - half[1] : y + half[1], x - half[0] : x + half[0]] = True
        boxes.append([x - half[0], y - half[1], x + half[0], y + half[1]])
    semantic[masks.any(0)] = 0
    labels = torch.randint(0, 80, (instances,), generator=generator)
    return Targets.from_masks(torch.tensor(boxes, dtype=torch.float32), labels, masks, semantic)


def reference_sample(image: Tensor, targets: Targets) -> dict[str, object]:
    """The same sample in the form AdelaiDet trains on."""
    structures = import_peer("detectron2.structures")
    masks = targets.masks
    found = structures.Instances(
        tuple(image.shape[1:]),
        gt_boxes=structures.Boxes(targets.boxes),
        gt_classes=targets.labels,
        gt_bitmasks=structures.BitMasks(masks),
        gt_masks=structures.BitMasks(masks),
    )
    things = torch.zeros_like(targets.semantic)
    for mask, label in zip(masks, targets.labels, strict=True):
        things[mask] = label + 1
    return {"image": image.flip(0), "instances": found, "sem_seg": targets.semantic, "basis_sem": things}


def make_samples(size: tuple[int, int], batch: int, instances: int) -> tuple[list[Tensor], list[Targets]]:
    """One picture several times, each with targets of its own."""
    image = torch.from_numpy(draw_image(*size)).permute(2, 0, 1).contiguous()
    return [image] * batch, [make_targets(size, instances, seed) for seed in range(batch)]


def prepare_training(model: PanopticBlend, precision: str) -> PanopticBlend:
    """A model as training on a CPU takes it."""
    model = model.train().to(memory_format=torch.channels_last)
    if precision == "fp32":
        compute_by_tiles(model.network)
    return model


def autocast_losses(
    model: PanopticBlend, images: list[Tensor], targets: list[Targets], precision: str
) -> Callable[[], dict[str, Tensor]]:
    """Our losses of a batch, computed as training with that precision does."""

    def losses() -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return model(images, targets)

    return losses


def make_step(model: nn.Module, losses_of: Callable[[], dict[str, Tensor]]) -> Callable[[], dict[str, Tensor]]:
    """Forward, backward and update, with so low a rate that every step is the same."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-9, momentum=0.9)

    def step() -> dict[str, Tensor]:
        losses = losses_of()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return losses

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adelaidet", type=Path, required=True, metavar="DIR", help="a checkout of AdelaiDet")
    parser.add_argument("--size", default="640x960")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--instances", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    height, width = map(int, options.size.split("x"))
    images, targets = make_samples((height, width), options.batch, options.instances)

    reference, config = load_adelaidet(options.adelaidet)
    reference.train()
    samples = [reference_sample(*pair) for pair in zip(images, targets, strict=True)]

    ways = {"AdelaiDet": make_step(reference, lambda: reference(samples))}
    for precision in options.ways:
        ours = prepare_training(from_adelaidet(reference.state_dict(), config), precision)
        ways[precision] = make_step(ours, autocast_losses(ours, images, targets, precision))
    console = Console(soft_wrap=True, highlight=False)
    for name, run in ways.items():
        console.print(name, {loss: round(value.item(), 4) for loss, value in run().items()})
    title = f"{options.batch} images of {options.size}, {options.threads} threads"
    print_ratios(title, take_turns(ways, options.rounds))


if __name__ == "__main__":
    main()
