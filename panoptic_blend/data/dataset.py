"""From annotated files to training batches, the same for any number of workers and processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.images import read_image_of
from panoptic_blend.data.images import to_tensor
from panoptic_blend.data.repeats import draw_repeats, epoch_length
from panoptic_blend.data.targets import index_segments, targets_from_indices
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.pictures import RGB, read_picture
from panoptic_blend.structures import Targets

if TYPE_CHECKING:  # it imports torch's compiler, which predicting need not wait for
    from panoptic_blend.data.transforms import TrainingTransform


@dataclass
class TrainingSample:
    """One augmented image.

    Attributes:
        image: [C, H, W], uint8 or float in 0..255; see `to_tensor`.
        targets: derived from the augmented id map.
        file_name: of the image, as in the annotations.
    """

    image: Tensor
    targets: Targets
    file_name: str


@dataclass
class Batch:
    """Training images of any sizes with their targets."""

    images: list[Tensor]
    targets: list[Targets]
    file_names: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        images = [image.to(device, non_blocking=True) for image in self.images]
        return Batch(images, [targets.to(device) for targets in self.targets], self.file_names)

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (called by `DataLoader(pin_memory=True)`)."""
        images = [image.pin_memory() for image in self.images]
        return Batch(images, [targets.pin_memory() for targets in self.targets], self.file_names)


def collate(samples: Sequence[TrainingSample]) -> Batch:
    """Put samples side by side; padding to one size is the model's business."""
    return Batch(
        [sample.image for sample in samples],
        [sample.targets for sample in samples],
        [sample.file_name for sample in samples],
    )


class TrainingDataset(Dataset[TrainingSample]):
    """Augmented training samples, each a pure function of (seed, index, draw).

    Args:
        annotations: of the training images.
        images: folder of the images.
        segments: folder of the id-map PNGs.
        transform: the augmentation.
        seed: of the augmentation.
        indices: which images of the annotations to use; all when None.
        categories: the annotations' own, in the order of the labels wanted; as the annotations list them when None.
        bands: that the model reads.
    """

    def __init__(
        self,
        annotations: PanopticAnnotations,
        images: Path,
        segments: Path,
        transform: TrainingTransform,
        seed: int,
        indices: Sequence[int] | None = None,
        categories: Categories | None = None,
        bands: int = RGB,
    ):
        self.categories = categories or annotations.categories
        self.annotations = annotations
        self.images = images
        self.segments = segments
        self.transform = transform
        self.seed = seed
        self.read = partial(read_picture, bands=bands)
        self.indices = range(len(annotations)) if indices is None else indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: tuple[int, int]) -> TrainingSample:
        """Load and augment the image at `key = (index, draw)`, as `StepSampler` yields them.

        Raises:
            DatasetError: image or id map cannot be read or do not fit the annotations.
        """
        index, draw = key
        record = self.annotations[int(self.indices[index])]
        image = to_tensor(read_image_of(record, self.images, self.read))
        id_map = read_segments(record, self.segments, self.categories, self.annotations.path)
        indices, ordered = index_segments(id_map, record.segments)
        image, indices = self.transform(image, indices, np.random.default_rng([self.seed, draw]))
        return TrainingSample(image, targets_from_indices(indices, ordered, self.categories), record.file_name)


class StepSampler(Sampler[tuple[int, int]]):
    """Endless (index, draw) keys for `TrainingDataset`, a pure function of the seed and the position.

    Positions 0, 1, 2... run through one permutation of the images after another, in which images may be repeated.
    Process `rank` takes the positions p with p % world_size == rank, so the k-th batches of all processes together hold
    the same images for any number of processes, and a run resumed at any step goes on with the very same data.

    Args:
        length: images in the data set.
        seed: of the order.
        start: positions that all processes together have consumed already: steps x images per step.
        rank: this process.
        world_size: number of processes.
        repeats: [length] how often to show each image in an epoch, 1 or more, see `repeat_factors`; once when None.

    Raises:
        DatasetError: there are no images.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        repeats: npt.NDArray[np.float64] | None = None,
    ):
        if length < 1:
            raise DatasetError("there are no training images left. Check the annotations, or the samples left out.")
        self.length = length
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world_size = world_size
        self.repeats = repeats

    def __iter__(self) -> Iterator[tuple[int, int]]:
        position = self.start + self.rank
        length = self.length if self.repeats is None else epoch_length(self.repeats)
        epoch, order = -1, np.empty(0, dtype=np.int64)
        while True:
            if position // length != epoch:
                epoch = position // length
                order = self._order(epoch)
            yield int(order[position % length]), position
            position += self.world_size

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        images = np.arange(self.length)
        if self.repeats is not None:
            offset = np.random.default_rng([self.seed, epoch, 1]).random()
            images = images.repeat(draw_repeats(self.repeats, offset))
        return np.random.default_rng([self.seed, epoch]).permutation(images)
