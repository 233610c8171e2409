"""Loaders for one run: endless training batches from any step on, and this process's share of the validation images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
from rich.console import Console
from torch.utils.data import DataLoader

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset, EvaluationSample
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
    bad = [*annotations.left_out, *bad]
    if bad:
        whole = len(annotations) + len(annotations.left_out)
        console.print(f"{annotations.path}: {len(bad)} of {whole} samples left out:", markup=False)
        for sample in bad:
            console.print(f"  {sample.file_name}: {sample.reason}", highlight=False, markup=False, soft_wrap=True)
    if not len(good):
        raise DatasetError(
            f"{annotations.path}: not one usable sample. Training and validation need an annotated image each."
        )
    return good.tolist()


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
    ):
        super().__init__()
        self.training = training
        self.validation = validation
        self.images_per_pass = images_per_pass
        self.start = start
        self.workers = workers
        self.seed = seed
        self.pin_memory = pin_memory
        self.repeats = None
        if repeat_threshold > 0:
            self.repeats = repeat_factors(category_presence(training.annotations, training.indices), repeat_threshold)

    def train_dataloader(self) -> DataLoader[TrainingSample]:
        """Endless batches for this process, a pure function of the seed and `start`."""
        assert self.trainer is not None
        sampler = StepSampler(
            len(self.training), self.seed, self.start, self.trainer.global_rank, self.trainer.world_size, self.repeats
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
