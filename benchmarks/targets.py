"""From an annotated picture to a varied training sample: its id map alone, against every instance's mask by itself."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from rich.console import Console
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from benchmarks.scoring import SIZE, draw_map
from benchmarks.turns import print_ratios, take_turns
from panoptic_blend.benchmarking.benchmark import draw_picture
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.coco.categories import coco_categories
from panoptic_blend.data.targets import derive_targets
from panoptic_blend.data.transforms import TrainingTransform, output_size
from panoptic_blend.structures import Targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as in a loader's worker
    categories = coco_categories()
    things, stuff = categories.things, categories.stuff
    ids = draw_map(np.random.default_rng(0), 0)
    records = [
        SegmentRecord(i, (things if i > 4 else stuff)[i].id, False, int((ids == i).sum()), (0, 0, 1, 1))
        for i in np.unique(ids[ids > 0]).tolist()
    ]
    image = torch.from_numpy(draw_picture(*SIZE)).permute(2, 0, 1).contiguous()
    transform = TrainingTransform((800,), 1333, flip=1.0)
    masks = [torch.from_numpy(ids == record.id) for record in records if record.id > 4]
    semantic = torch.from_numpy(np.where(ids > 4, 0, ids))

    def ours() -> Targets:
        _, varied_ids = transform(image, ids, np.random.default_rng(0))
        return derive_targets(varied_ids, records, categories)

    def each_mask() -> tuple[list[torch.Tensor], torch.Tensor]:
        """As detectron2's mapper: image, stuff and every instance go through the same flips and sizes."""
        size = output_size(*SIZE, 800, 1333)
        F.resize(F.horizontal_flip(image), list(size), antialias=True)
        every = [
            F.resize(F.horizontal_flip(mask[None].byte()), list(size), InterpolationMode.NEAREST_EXACT, antialias=False)
            for mask in masks
        ]
        stuff_map = F.resize(F.horizontal_flip(semantic[None]), list(size), InterpolationMode.NEAREST_EXACT)
        stacked = torch.cat(every).bool()
        boxes = []
        for mask in stacked:
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            boxes.append(torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]))
        return boxes, stuff_map

    found, expected = ours(), each_mask()
    Console().print("boxes equal:", torch.equal(found.boxes.long(), torch.stack(expected[0])), highlight=False)
    seconds = take_turns({"every mask": each_mask, "id map": ours}, options.rounds)
    print_ratios(f"{len(masks)} instances, {SIZE[0]}x{SIZE[1]} to 800 pixels, one thread", seconds)


if __name__ == "__main__":
    main()
