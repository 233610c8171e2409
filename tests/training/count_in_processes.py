"""Command that scores given predictions with `validate`, in as many processes as launch it, and writes the counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset, EvaluationSample
from panoptic_blend.evaluation.pq import PQResult
from panoptic_blend.structures import IdMap, Instances, PanopticPrediction, Segment
from panoptic_blend.training.stopping import StopRequest
from panoptic_blend.training.validation import validate


class Forger:
    """Stands in for a model: knows the truth of every image and returns it shifted by a few pixels."""

    def __init__(self, categories: Categories, samples: EvaluationDataset):
        self.categories = categories
        self.truth: dict[bytes, EvaluationSample] = {
            samples[i].image.tobytes(): samples[i] for i in range(len(samples))
        }
        self.calls = 0

    def buffers(self) -> list[Tensor]:
        return []

    def resize(self, image: Tensor) -> Tensor:
        return image

    def predict(self, images: list[Tensor], sizes: list[tuple[int, int]]) -> list[PanopticPrediction]:
        self.calls += 1
        sample = self.truth[images[0].permute(1, 2, 0).numpy().tobytes()]
        assert sample.id_map is not None
        id_map: IdMap = np.roll(sample.id_map, 3, axis=1)
        segments = [
            Segment(s.id, s.category_id, True, 1.0, int((id_map == s.id).sum()))
            for s in sample.record.segments
            if (id_map == s.id).any()
        ]
        nothing = Instances(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0), torch.zeros(0, 1, 1), sizes[0])
        return [PanopticPrediction(id_map, segments, nothing, np.zeros(sizes[0], np.uint8))]


def count(data: Path, rank: int, world_size: int) -> tuple[PQResult, int]:
    annotations = PanopticAnnotations.load(data / "annotations" / "panoptic_val.json")
    whole = EvaluationDataset(annotations, data / "val", annotations.default_segments_folder)
    forger = Forger(whole.annotations.categories, whole)
    mine = [whole[i] for i in range(rank, len(whole), world_size)]
    result = validate(forger, mine, torch.device("cpu"), torch.float32, StopRequest())  # type: ignore[arg-type]
    assert result is not None
    return result, forger.calls


def main() -> None:
    data, output = map(Path, sys.argv[1:])
    dist.init_process_group("gloo")
    result, calls = count(data, dist.get_rank(), dist.get_world_size())
    rows = [[row.category.name, row.tp, row.fp, row.fn, row.iou] for row in result.per_class]
    report = {"pq": result.all.pq, "rows": rows, "calls": calls}
    (output / f"rank{dist.get_rank()}.json").write_text(json.dumps(report))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
