"""How a model is exported, and which settings fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from panoptic_blend.errors import CheckpointError, ConfigError
from panoptic_blend.exporting.guard import Guard
from panoptic_blend.files.pictures import RGB
from panoptic_blend.inference.writing import check_same_categories
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

Format = Literal["onnx", "openvino", "torch"]


@dataclass(frozen=True)
class ExportSettings:
    """How a model is exported.

    Args:
        format: 'onnx' holds everything from the picture to the id map. 'openvino' does so in three files: what OpenVINO
            made of the network, and as ONNX graphs what stands before and after it. 'torch' is the network alone.
        precision: of the network; what surrounds it is fp32 always. 'int8' is not for 'torch'.
        size: (height, width) of the only pictures it takes; by default it takes pictures of any size.
        calibration: for int8, images like those that will be predicted.
        guard: for int8, what it is held to.
        fewest_equal: share of a picture's pixels that must keep their category, below which nothing is written; by
            default what trained models of this precision keep. Random weights keep less.
    """

    format: Format = "onnx"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    size: tuple[int, int] | None = None
    calibration: Sequence[Path] = ()
    guard: Guard | None = None
    fewest_equal: float | None = None


def check_settings(settings: ExportSettings, model: PanopticBlend) -> None:
    """See that settings fit together, and to a model.

    Raises:
        CheckpointError: the model reads other bands than RGB, or has category ids of more than 31 bits.
        ConfigError: settings of which one excludes the other.
        DatasetError: the guard's files are incomplete, or have other categories.
    """
    if model.channels != RGB:
        raise CheckpointError(
            f"This model reads {model.channels} bands (model.input.channels); models of RGB alone are exported. "
            "Predict with the checkpoint."
        )
    largest = max(category.id for category in model.categories)
    if largest >= 2**31:
        raise CheckpointError(
            f"The model has category ids up to {largest}; an exported one tells ids below 2^31. Train on "
            "annotations with smaller ones."
        )
    if settings.precision != "int8":
        if settings.calibration or settings.guard:
            raise ConfigError(f"calibration and guard are for int8, not for {settings.precision}. Leave them out.")
    elif settings.format == "torch":
        raise ConfigError("int8 is for the formats onnx and openvino.")
    elif not settings.calibration:
        raise ConfigError("int8 needs --calibration FOLDER: some dozens of images like those that will be predicted.")
    elif settings.guard is not None:
        annotations = settings.guard.truth.annotations
        check_same_categories(model.categories, annotations.categories, annotations.path)
        settings.guard.truth.check_files()
