"""From an annotated picture to a varied training sample: one id map, against detectron2's mask for every instance."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as rle
from rich.console import Console

from benchmarks.peers import import_peer
from benchmarks.scoring import SIZE, bands, write
from benchmarks.turns import print_ratios, take_turns
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.coco.annotations import PanopticAnnotations, SegmentRecord
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.data.dataset import TrainingDataset
from panoptic_blend.data.targets import index_segments, targets_from_indices
from panoptic_blend.data.transforms import TrainingTransform
from panoptic_blend.structures import Targets

SHORTEST, LONGEST = 800, 1333
THINGS_FROM = 5
"""First id of an instance in the maps of `bands`; those below are stuff."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--images", type=int, default=100, help="of the loader's measurement")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as in a loader's worker
    transform = TrainingTransform((SHORTEST,), LONGEST, flip=1.0)
    console = Console(highlight=False)
    ids, _ = bands(np.random.default_rng(0), 0)
    picture = draw_image(*SIZE)
    ours, theirs = our_sample(picture, ids, transform), detectron2_sample(picture, ids)

    found, expected = ours(True), theirs(True)
    same = np.isclose(found.boxes.numpy(), expected.gt_boxes.tensor.numpy(), atol=1.01).all()
    console.print(f"{len(found.boxes)} instances; boxes the same to a pixel: {same}")
    for name, with_image in (("targets alone", False), ("whole sample", True)):
        ways = {
            "a mask for every instance": lambda with_image=with_image: theirs(with_image),
            "one id map": lambda with_image=with_image: ours(with_image),
        }
        print_ratios(f"{name}, {SIZE[0]}x{SIZE[1]} to {SHORTEST}, one thread", take_turns(ways, options.rounds))
    console.print(f"one worker, from files: {images_per_second(transform, options.images):.1f} images/s")


def our_sample(picture: np.ndarray, ids: np.ndarray, transform: TrainingTransform) -> Callable[[bool], Targets]:
    """A function that varies the picture, if told to, and its map, and derives the targets."""
    categories = coco_categories()
    records = [
        SegmentRecord(i, (categories.things if i >= THINGS_FROM else categories.stuff)[i].id, False, -1, (0, 0, 1, 1))
        for i in np.unique(ids[ids > 0]).tolist()
    ]
    image = torch.from_numpy(picture).permute(2, 0, 1)  # as `read_image` returns it

    def sample(with_image: bool) -> Targets:
        indices, ordered = index_segments(ids, records)
        _, varied = transform(image if with_image else image[:0], indices, np.random.default_rng(0))
        return targets_from_indices(varied, ordered, categories)

    return sample


def detectron2_sample(picture: np.ndarray, ids: np.ndarray) -> Callable[[bool], Any]:
    """The same with detectron2's transforms and instances, from run-length encoded masks and a stuff map."""
    transforms = import_peer("detectron2.data.transforms")
    utils = import_peer("detectron2.data.detection_utils")
    box_mode = import_peer("detectron2.structures").BoxMode.XYWH_ABS
    masks = [rle.encode(np.asfortranarray(ids == i).astype(np.uint8)) for i in np.unique(ids[ids >= THINGS_FROM])]
    annotations = [
        {"bbox": rle.toBbox(mask).tolist(), "bbox_mode": box_mode, "category_id": 0, "segmentation": mask}
        for mask in masks
    ]
    stuff = np.where(ids >= THINGS_FROM, 0, ids).astype(np.uint8)
    drawn = [transforms.ResizeShortestEdge((SHORTEST,), LONGEST, "choice"), transforms.RandomFlip(prob=1.0)]
    applied = transforms.AugmentationList(drawn)(transforms.AugInput(picture))

    def sample(with_image: bool) -> Any:
        if with_image:
            torch.as_tensor(np.ascontiguousarray(applied.apply_image(picture).transpose(2, 0, 1)))
        semantic = torch.as_tensor(applied.apply_segmentation(stuff).astype("long"))
        size = tuple(semantic.shape)
        rows = [utils.transform_instance_annotations(dict(each), applied, size) for each in annotations]
        instances = utils.annotations_to_instances(rows, size, mask_format="bitmask")
        instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        return instances

    return sample


def images_per_second(transform: TrainingTransform, images: int) -> float:
    """How fast one worker reads, varies and derives, from JPEG and PNG files."""
    with tempfile.TemporaryDirectory() as name:
        annotations = PanopticAnnotations.load(write(Path(name), bands, images, 0))
        for number in range(images):
            Image.fromarray(draw_image(*SIZE)).save(Path(name) / f"{number:06}.jpg", quality=92)
        data = TrainingDataset(annotations, Path(name), Path(name) / "predictions", transform, seed=0)
        start = time.perf_counter()
        for index in range(images):
            data[index, index]
        return images / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
