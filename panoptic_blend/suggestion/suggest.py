"""The whole way from files to a configuration file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from panoptic_blend.catalogue.models import NUCLEI_NANO
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.config import Config
from panoptic_blend.config_files import read_config
from panoptic_blend.data.dataset import TrainingDataset
from panoptic_blend.data.transforms import TrainingTransform
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.suggestion.measurements import measure
from panoptic_blend.suggestion.settings import (
    BATCH,
    COLOR,
    JITTER,
    Machine,
    Setting,
    late_validation,
    median_aspect,
    network_settings,
    training_seconds,
    training_settings,
    widest_crop,
)
from panoptic_blend.suggestion.timing import time_steps
from panoptic_blend.suggestion.writing import as_flow, as_yaml
from panoptic_blend.training.hardware import choose_accelerator, settle_precision


@dataclass(frozen=True)
class DataPaths:
    """A data set's files, as training needs them."""

    annotations: Path
    images: Path
    val_annotations: Path
    val_images: Path

    @staticmethod
    def find(annotations: Path, images: Path, val_annotations: Path | None, val_images: Path | None) -> DataPaths:
        """Validation images are those named 'val' where these are named 'train'; without such, the same ones."""
        annotations, images = Path(os.path.abspath(annotations)), Path(os.path.abspath(images))  # '.' has no name
        if val_annotations is None or val_images is None:
            val_annotations, val_images = _named_val(annotations), _named_val(images)
            is_named_so = annotations != val_annotations and val_annotations.is_file() and val_images.is_dir()
            if not is_named_so:
                val_annotations, val_images = annotations, images
        return DataPaths(annotations, images, val_annotations, val_images)

    def settings(self) -> list[Setting]:
        """Where the data are."""
        validated = (
            ""
            if self.val_annotations != self.annotations
            else (
                "No validation images were found: these are the training images, whose PQ says little. "
                "convert-dataset --split makes some."
            )
        )
        paths = [self.images.parent, self.annotations.parent, self.val_images.parent, self.val_annotations.parent]
        root = Path(os.path.commonpath([path.absolute() for path in paths]))
        inside = [
            os.path.relpath(p.absolute(), root)
            for p in (self.images, self.annotations, self.val_images, self.val_annotations)
        ]
        return [
            Setting("data.root", os.path.relpath(root)),
            Setting("data.train_images", inside[0]),
            Setting("data.train_annotations", inside[1]),
            Setting("data.val_images", inside[2], validated),
            Setting("data.val_annotations", inside[3]),
        ]


def _named_val(path: Path) -> Path:
    return path.with_name(path.name.replace("train", "val"))


def suggest_config(paths: DataPaths, output: Path, hours: float, console: Console) -> Config:
    """Measure data and machine, write the configuration, and return it as read back.

    Args:
        paths: of the data.
        output: the YAML file.
        hours: that training may take here.
        console: where is told what was found.
    """
    annotations = PanopticAnnotations.load(paths.annotations)
    validation = PanopticAnnotations.load(paths.val_annotations)
    with Progress(console=console) as bar:
        task = bar.add_task("measuring", total=len(annotations))
        measured = measure(annotations, annotations.default_segments_folder, lambda: bar.advance(task))
    network = network_settings(measured)
    edge, longest = (setting.value for setting in network[:2])
    crop = widest_crop(measured, edge)
    draft = _as_config([*network, Setting("trainer.batch_size", BATCH), Setting("optimizer.name", "adamw")])
    accelerator = choose_accelerator(draft.trainer)
    draft = settle_precision(draft, accelerator)
    device = torch.device("cuda" if accelerator == "gpu" else "cpu")
    transform = TrainingTransform([edge], longest, JITTER, crop, color=COLOR)
    training = TrainingDataset(annotations, paths.images, annotations.default_segments_folder, transform, seed=0)
    console.print("timing a few steps")
    seconds = time_steps(draft, training, device)
    machine = Machine(_name(device, draft.trainer.precision), seconds / (BATCH * crop[0] * crop[1]))
    aspect = median_aspect(measured)
    validating = machine.validation(len(validation), edge, aspect)
    network = network_settings(measured, machine.affordable_crop(training_seconds(hours, validating)))
    edge, longest = (setting.value for setting in network[:2])
    settings = [
        *network,
        *paths.settings(),
        *training_settings(measured, edge, longest, len(validation), machine, hours),
    ]
    settings.append(Setting("trainer.output", f"runs/{output.stem}"))
    heading = (
        f"Suggested for {paths.annotations.name} ({len(annotations)} images, {len(measured.boxes)} things, "
        f"{len(measured.categories)} categories) and {hours:g} hours of training on {machine.name}. "
        f"Train with panoptic-blend train --config {output.name} --init-from {NUCLEI_NANO}"
    )
    with atomic_path(output) as unfinished:
        unfinished.write_text(as_yaml(heading, settings), encoding="utf-8")
    late = late_validation(machine.validation(len(validation), edge, aspect), len(validation), hours)
    if late:
        console.print(late)
    console.print(f"{output}: train with panoptic-blend train --config {output} --init-from {NUCLEI_NANO}")
    return read_config(output)


def _as_config(settings: Sequence[Setting]) -> Config:
    return read_config(overrides=[word for each in settings for word in (f"--{each.name}", as_flow(each.value))])


def _name(device: torch.device, precision: str) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} in {precision}"
    return f"{torch.get_num_threads()} CPU threads in {precision}"
