"""A configuration for a data set and a machine, every number with what it was derived from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from panoptic_blend.catalogue.models import NUCLEI_NANO
from panoptic_blend.suggestion import derivation
from panoptic_blend.suggestion.measurements import Measurements, highest_overlaps, relative_extents

BATCH = 8
"""Images of a step: enough for batch norm's statistics, and what the learning rate belongs to."""
FEWEST_STEPS = 500
"""That a model needs from the weights of nuclei-nano; crops and inputs shrink before steps get fewer."""
JITTER = (0.75, 1.5)
"""Of the sizes of training images."""
COLOR = 0.3
"""Jitter of brightness, contrast and saturation, nearly as in configs/camvid/nano.yaml."""
PREDICTION_SHARE = 0.4
"""Time of a prediction in that of a training step, for equally many pixels."""


@dataclass(frozen=True)
class Setting:
    """One line of a configuration.

    Attributes:
        name: dotted.
        value: as YAML holds it.
        why: what it was derived from; may be empty, when the line before says it.
    """

    name: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Machine:
    """What a training step costs here.

    Attributes:
        name: for people: processor or GPU, threads, precision.
        seconds_per_pixel: of the crops of one step, forward, backward and update.
    """

    name: str
    seconds_per_pixel: float

    def affordable_crop(self, seconds: float) -> float:
        """Pixels of a crop with which `FEWEST_STEPS` take so many seconds."""
        return seconds / FEWEST_STEPS / BATCH / self.seconds_per_pixel

    def validation(self, images: int, edge: int, aspect: float) -> float:
        """Seconds that predictions of so many images take.

        Args:
            images: number of them.
            edge: shortest edge of the input.
            aspect: width / height of most images.
        """
        return images * edge * edge * max(aspect, 1 / aspect) * PREDICTION_SHARE * self.seconds_per_pixel


def training_seconds(hours: float, validation: float) -> float:
    """Of so many hours what a validation leaves to training; half of them at least."""
    return 3600 * hours - min(validation, 1800 * hours)


def late_validation(validation: float, images: int, hours: float) -> str:
    """What to do where a validation of so many images takes more than half of the hours; else nothing."""
    if validation <= 1800 * hours:
        return ""
    return (
        f"Predicting the {images} validation images takes about {validation / 60:.0f} minutes, more than half of the "
        "time: give fewer with --val-annotations, or more hours."
    )


def network_settings(measured: Measurements, most_pixels: float = math.inf) -> list[Setting]:
    """Those of the model.

    Args:
        measured: the training images.
        most_pixels: of a crop, for the steps that are needed to fit the budget.
    """
    extents = relative_extents(measured)
    native = int(np.median(measured.sizes.min(axis=1)))
    edge = derivation.input_edge(extents, native)
    scene = derivation.scene_edge(median_aspect(measured), most_pixels) if math.isfinite(most_pixels) else edge
    why_smaller = ""
    if scene < edge and len(measured.categories.stuff) > 1:
        why_smaller = (
            f" At {edge} px, two cells, crops that leave time for {FEWEST_STEPS} steps here would hold less "
            "than half of an image, and lack what tells stuff apart."
        )
        edge = scene
    longest = derivation.longest_edge(measured.sizes, edge)
    coarsest, sizes_of_interest = derivation.detector_levels(extents, edge)
    most = int(measured.things.max())
    max_detections, top_k = derivation.detections(most)
    overlaps = highest_overlaps(measured)
    resolution, attention = derivation.mask_resolution(extents, edge)
    stuff_weight = 1.0 if 2 * len(measured.categories.stuff) >= len(measured.categories) else 0.5
    small, large = (np.percentile(extents, share) if len(extents) else 0.0 for share in (10, 99))
    return [
        Setting(
            "model.input.shortest_edge",
            edge,
            f"Images' median shortest edge is {native} px. One thing in ten is no longer than {small:.1%} of that "
            f"edge: {small * native:.0f} px there, {small * edge:.0f} px here, where P3 has a cell every 8."
            + why_smaller,
        ),
        Setting(
            "model.input.longest_edge",
            longest,
            "So that no image is made smaller than the others, unless it is more than twice as elongated.",
        ),
        Setting("model.backbone.name", "efficientnet_lite0", f"That of {NUCLEI_NANO}: made for CPUs and small data."),
        Setting("model.backbone.weights", "none", f"--init-from {NUCLEI_NANO} brings them and all that fits."),
        Setting("model.fpn.channels", 64, f"As in {NUCLEI_NANO}."),
        Setting(
            "model.fpn.coarsest_level",
            coarsest,
            f"99 of 100 things are at most {large * edge:.0f} px long at the input: their borders are up to "
            f"{large * edge / 2:.0f} px from their middle. A level takes up to {derivation.STRIDES_PER_LEVEL} of its "
            "strides, the coarsest all beyond.",
        ),
        Setting("model.fcos.num_convs", 2, f"Half of the published 4, for speed; as in {NUCLEI_NANO}."),
        Setting("model.fcos.sizes_of_interest", sizes_of_interest, "See coarsest_level."),
        Setting(
            "model.fcos.pre_nms_top_k",
            top_k,
            f"The most crowded image has {most} things; each may have 9 candidates, those around its middle.",
        ),
        Setting(
            "model.fcos.nms_iou",
            derivation.suppression(overlaps),
            "True boxes of one category overlap by less: "
            f"{np.percentile(overlaps, 99.9) if len(overlaps) else 0:.2f} IoU is exceeded by one in 1,000.",
        ),
        Setting("model.fcos.max_detections", max_detections, f"Half as many again as the {most} of that image."),
        Setting("model.bases.channels", 64, "As the pyramid."),
        Setting(
            "model.masks.resolution",
            resolution,
            f"A quarter of all things are longer than {_percentile(extents, 75) * edge:.0f} px at the input; the bases "
            "have a cell every 4.",
        ),
        Setting("model.masks.dice_weight", 1.0, "Outlines fit a little better with it (docs/recipe.md)."),
        Setting("model.masks.blender.attention_size", attention, "A quarter of the resolution, as published."),
        Setting("model.semantic.channels", 64, "As the pyramid."),
        Setting(
            "model.semantic.loss_weight",
            stuff_weight,
            f"{len(measured.categories.stuff)} of {len(measured.categories)} categories are stuff; 0.5 is published "
            "for COCO, where 53 of 133 are.",
        ),
        Setting("model.semantic.dice_weight", 1.0, "So that rare stuff counts as much as common (docs/recipe.md)."),
        Setting(
            "model.merge.min_score",
            0.35,
            "Short training gives lower scores than the published one, whose threshold is 0.45.",
        ),
        Setting("model.merge.max_overlap", 0.4, "As published."),
        Setting(
            "model.merge.min_stuff_area",
            derivation.smallest_stuff(measured.stuff_areas),
            f"One stuff segment in 100 has fewer than {_percentile(measured.stuff_areas, 1):.0f} px; at most 4096, as "
            "published.",
        ),
    ]


def widest_crop(measured: Measurements, edge: int) -> tuple[int, int]:
    """Of training images, as far as the data decide; a slow machine takes a smaller one."""
    return derivation.crop_size(edge, median_aspect(measured), math.inf)


def training_settings(
    measured: Measurements, edge: int, longest: int, validation_images: int, machine: Machine, hours: float
) -> list[Setting]:
    """Those of a run that takes so many hours here.

    Args:
        measured: the training images.
        edge: shortest edge of the input.
        longest: limit of its longest.
        validation_images: number of them.
        machine: what a step costs.
        hours: that training and validation may take.
    """
    aspect = median_aspect(measured)
    validation = machine.validation(validation_images, edge, aspect)
    seconds = training_seconds(hours, validation)
    crop = derivation.crop_size(edge, aspect, machine.affordable_crop(seconds))
    step = BATCH * crop[0] * crop[1] * machine.seconds_per_pixel
    validations = 4 if 4 * validation < 3600 * hours / 20 else 1
    steps = max(10, int((seconds - (validations - 1) * validation) / step / 10) * 10)
    warmup = min(steps // 10, 1000)
    frequencies = measured.present.mean(axis=0)
    rarest = int(np.where(frequencies > 0, frequencies, np.inf).argmin())
    return [
        Setting("data.shortest_edge", [edge], "That of the model's input."),
        Setting("data.longest_edge", longest, "Likewise."),
        Setting(
            "data.jitter", list(JITTER), "Sizes that the input's size is multiplied by, so that other scales are seen."
        ),
        Setting(
            "data.crop",
            list(crop),
            f"Half of the input's pixels, or what leaves time for {FEWEST_STEPS} steps here; in the images' form, as "
            "multiples of 32.",
        ),
        Setting("data.color", COLOR, "Cameras and light differ."),
        Setting(
            "data.repeat_threshold",
            derivation.repeat_threshold(frequencies),
            f"The rarest category, {measured.categories[rarest].name!r}, is in {frequencies[rarest]:.1%} of the "
            "images; those of categories below 10 % are repeated.",
        ),
        Setting("optimizer.name", "adamw", "Learns fast."),
        Setting("optimizer.lr", 1e-3, f"For batches of {BATCH}; as in configs/camvid/nano.yaml."),
        Setting("optimizer.reference_batch_size", BATCH),
        Setting("optimizer.weight_decay", 0.02, "As there."),
        Setting("optimizer.schedule", "cosine"),
        Setting("optimizer.warmup_steps", warmup, "A tenth of the steps, at most 1,000."),
        Setting("optimizer.clip_norm", 5.0, "Against single bad steps early on."),
        Setting(
            "trainer.max_steps",
            steps,
            f"{hours:g} hours at {step:.2f} s a step on {machine.name}, less {validations} times "
            f"{validation:.0f} s of validation. {late_validation(validation, validation_images, hours)}",
        ),
        Setting("trainer.batch_size", BATCH, "Enough for the statistics of batch norm."),
        Setting("trainer.ema_decay", derivation.averaging(steps), "Averages over about a fifth of the run."),
        Setting("trainer.val_every", 0 if validations == 1 else -(-steps // validations), "See max_steps."),
        Setting("trainer.checkpoint_every", max(10, int(300 / step / 10) * 10), "About every five minutes."),
    ]


def median_aspect(measured: Measurements) -> float:
    """Width / height of the images: the median."""
    return float(np.median(measured.sizes[:, 1] / measured.sizes[:, 0]))


def _percentile(values: Any, share: float) -> float:
    return float(np.percentile(values, share)) if len(values) else 0.0
