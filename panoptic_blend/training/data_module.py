"""Loaders for one run: endless training batches from any step on, and this process's share of the validation images."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist
from rich.console import Console
from torch.utils.data import DataLoader

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset, EvaluationSample
from panoptic_blend.coco.left_out import BadSample
from panoptic_blend.config import DataConfig
from panoptic_blend.data.dataset import StepSampler, TrainingDataset, TrainingSample, collate
from panoptic_blend.data.loading import Loader
from panoptic_blend.data.repeats import category_presence, repeat_factors
from panoptic_blend.data.sample_checks import check_samples
from panoptic_blend.data.transforms import TrainingTransform
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.pictures import RGB, read_picture


def load_data(
    settings: DataConfig,
    seed: int,
    console: Console,
    check: bool = True,
    categories: Categories | None = None,
    bands: int = RGB,
) -> tuple[TrainingDataset, EvaluationDataset]:
    """Training and validation sets.

    Args:
        settings: places and augmentation.
        seed: of the augmentation.
        console: where the check is shown.
        check: look at every sample first, and stop at a bad one or leave bad ones out as the settings say.
        categories: of the run that is resumed; labels follow their order and not that of the files.
        bands: that the model reads.

    Raises:
        DatasetError: annotations or samples that do not hold together, or sets that name other categories.
    """
    root = Path(settings.root)
    training = PanopticAnnotations.load(root / settings.train_annotations, settings.on_bad_sample)
    validation = PanopticAnnotations.load(root / settings.val_annotations, settings.on_bad_sample)
    differences = training.categories.differences(validation.categories, "the first", "the second")
    if differences:
        raise DatasetError(
            f"{training.path} and {validation.path} list different categories: {differences}. Give both the same."
        )
    differences = categories.differences(training.categories, "the run", "the file") if categories else ""
    if differences:
        raise DatasetError(
            f"{training.path}: its categories are not those the run began with: {differences}. Go on with the data it "
            "began with, or start a new run from its weights: --config FILE --init-from RUN."
        )
    folders = []
    for found, images, segments in (
        (training, settings.train_images, settings.train_segments),
        (validation, settings.val_images, settings.val_segments),
    ):
        if not found.has_segments:
            raise DatasetError(f"{found.path}: lists images only. Training needs panoptic annotations.")
        folders.append((root / images, root / segments if segments else found.default_segments_folder))
    transform = TrainingTransform(
        settings.shortest_edge, settings.longest_edge, settings.jitter, settings.crop, settings.flip, settings.color
    )
    good = [
        _good_samples(found, *places, settings, console, bands) if check else None
        for found, places in zip((training, validation), folders, strict=True)
    ]
    return (
        TrainingDataset(training, *folders[0], transform, seed, good[0], categories, bands),
        EvaluationDataset(validation, *folders[1], good[1], partial(read_picture, bands=bands)),
    )


def _good_samples(
    annotations: PanopticAnnotations, images: Path, segments: Path, settings: DataConfig, console: Console, bands: int
) -> Sequence[int]:
    good, bad = check_samples(annotations, images, segments, settings.on_bad_sample, settings.workers, console, bands)
    _report(annotations, len(good), bad, console)
    return _all_but(bad, good.tolist(), len(annotations))


def _all_but(bad: Sequence[BadSample], good: Sequence[int], images: int) -> Sequence[int]:
    """The good ones, without a Python object for each: every loader process would come to hold a copy of those."""
    return array("q", good) if bad else range(images)


def _report(annotations: PanopticAnnotations, good: int, found: Sequence[BadSample], console: Console) -> None:
    bad = [*annotations.left_out, *found]
    if bad:
        whole = len(annotations) + len(annotations.left_out)
        console.print(f"{annotations.path}: {len(bad)} of {whole} samples left out:", markup=False)
        for sample in bad:
            console.print(f"  {sample.file_name}: {sample.reason}", highlight=False, markup=False, soft_wrap=True)
    if not good:
        raise DatasetError(
            f"{annotations.path}: not one usable sample. Training and validation need an annotated image each."
        )


@dataclass(frozen=True)
class CheckTogether:
    """Looks at every sample once on each machine: the processes there share them, and tell all others what is bad.

    Attributes:
        settings: of the data.
        console: where progress and what is left out are shown.
        bands: that images are to have.
    """

    settings: DataConfig
    console: Console
    bands: int

    def __call__(self, samples: TrainingDataset | EvaluationDataset, rank: int, processes: int) -> Sequence[int]:
        """Positions in the annotations of the samples that are good everywhere; every process must call it.

        Args:
            samples: all of the annotations.
            rank: of this process among those on its machine.
            processes: on each machine.

        Raises:
            DatasetError: a sample is bad, and not to be left out; or not one is good.
        """
        annotations, segments = samples.annotations, samples.segments
        assert segments is not None
        mine = range(rank, len(annotations), processes)
        good, bad = check_samples(
            annotations, samples.images, segments, "skip", self.settings.workers, self.console, self.bands, mine
        )
        positions = sorted(set(mine) - set(good.tolist()))
        everywhere: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everywhere, list(zip(positions, bad, strict=True)))
        found: dict[int, BadSample] = dict(sorted(pair for each in everywhere for pair in each))
        if found and self.settings.on_bad_sample == "raise":
            raise DatasetError(next(iter(found.values())).reason)
        kept = [i for i in range(len(annotations)) if i not in found]
        _report(annotations, len(kept), list(found.values()), self.console)
        return _all_but(list(found.values()), kept, len(annotations))


class DataModule(pl.LightningDataModule):
    """Training and validation loaders.

    Args:
        training: augmented training samples.
        validation: every validation image with its truth.
        images_per_pass: images of one forward pass of one process.
        start: images that all processes together have consumed before this run begins.
        workers: loader processes.
        seed: of the order of the training images.
        pin_memory: page-locked batches, for copies to a GPU.
        repeat_threshold: share of the training images below which a category is rare, so that its images are repeated.
        check: what looks at the samples of a set before training, when all processes of the run are there; None when
            they were looked at before.
    """

    def __init__(
        self,
        training: TrainingDataset,
        validation: EvaluationDataset,
        images_per_pass: int,
        start: int,
        workers: int,
        seed: int,
        pin_memory: bool,
        repeat_threshold: float = 0.0,
        check: CheckTogether | None = None,
    ):
        super().__init__()
        self.training = training
        self.validation = validation
        self.images_per_pass = images_per_pass
        self.start = start
        self.workers = workers
        self.seed = seed
        self.pin_memory = pin_memory
        self.repeat_threshold = repeat_threshold
        self.check = check

    def setup(self, stage: str) -> None:
        """Look at the samples, once the processes of the run can exchange what they find.

        Raises:
            DatasetError: as of `CheckTogether`.
        """
        if self.check is not None:
            assert self.trainer is not None
            for samples in (self.training, self.validation):
                samples.indices = self.check(samples, self.trainer.local_rank, self.trainer.num_devices)

    def train_dataloader(self) -> DataLoader[TrainingSample]:
        """Endless batches for this process, a pure function of the seed and `start`."""
        assert self.trainer is not None
        training, repeats = self.training, None
        if self.repeat_threshold > 0:
            presence = category_presence(training.annotations, training.indices)
            repeats = repeat_factors(presence, self.repeat_threshold)
        sampler = StepSampler(
            len(training), self.seed, self.start, self.trainer.global_rank, self.trainer.world_size, repeats
        )
        return Loader(
            self.training,
            self.workers,
            collate,
            self.images_per_pass,
            sampler,
            self.pin_memory,
            persistent=True,
        )

    def validation_loader(self) -> DataLoader[EvaluationSample]:
        """This process's share of the validation images, one at a time; no image goes to two processes."""
        assert self.trainer is not None
        mine = range(self.trainer.global_rank, len(self.validation), self.trainer.world_size)
        return Loader(self.validation, self.workers, sampler=mine)
