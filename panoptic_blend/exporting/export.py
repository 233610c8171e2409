"""Writes a model as a folder that runs without torch, and tries it before anyone else does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from panoptic_blend._version import __version__
from panoptic_blend.errors import ConfigError
from panoptic_blend.exporting.instructions import instructions
from panoptic_blend.exporting.network import padded_size
from panoptic_blend.exporting.settings import ExportSettings, Format, check_settings
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.modeling.input_rule import SIZE_DIVISOR
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.manifest import ImageInput, Manifest, Runtime, write_manifest
from panoptic_blend.runtime.processor import processor_kind

LOWEST_TORCH = (2, 9)
"""Whose exporter this was written for; running what was exported takes no torch."""
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")
_RUNTIMES: dict[Format, Runtime] = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}


def export_model(
    model: PanopticBlend, folder: Path, settings: ExportSettings, said: Callable[[str], None] = lambda line: None
) -> Manifest:
    """Write a model into a new folder, whole or not at all: its files, `model.json` and README.md.

    The files are tried on one picture before the folder appears; `measured` in the manifest says what came out.

    Args:
        model: stays as it is.
        folder: a new one.
        settings: how.
        said: told how it goes on; int8 takes a while.

    Raises:
        ConfigError: the folder is in use, torch is too old, a package is missing, or settings do not fit together.
        CheckpointError: the model cannot be exported, or the files do not give what the model gives.
        DatasetError: images of calibration or guard cannot be read, or have another size than the only one.
    """
    _require_torch()
    check_settings(settings, model)
    model = copy.deepcopy(model).cpu().eval()
    about = _about(model, settings)
    with atomic_folder(folder) as unfinished:
        try:
            if settings.format == "torch":
                from panoptic_blend.exporting.torch_program import write_program

                manifest = write_program(model, unfinished, settings, about)
            else:
                from panoptic_blend.exporting.onnx_files import write_graphs

                manifest = write_graphs(model, unfinished, settings, about, said)
        except ImportError as error:
            raise _not_installed(error) from error
        write_manifest(manifest, unfinished)
        example = (128, 160) if settings.size is None else padded_size(model, settings.size)
        (unfinished / "README.md").write_text(instructions(manifest, example), encoding="utf-8")
    return manifest


def _require_torch() -> None:
    found = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if found < LOWEST_TORCH:
        lowest = ".".join(map(str, LOWEST_TORCH))
        raise ConfigError(
            f"Exporting needs torch {lowest} or newer, this is {torch.__version__}. Run `pip install "
            f"'torch>={lowest}'`; what was exported runs without torch."
        )


def _about(model: PanopticBlend, settings: ExportSettings) -> Manifest:
    """What is known before there are files."""
    rule = model.config.input
    assert rule.pixel_mean is not None
    assert rule.pixel_std is not None
    red, green, blue = rule.pixel_mean
    mean = red, green, blue
    red, green, blue = rule.pixel_std
    return Manifest(
        runtime=_RUNTIMES[settings.format],
        precision=settings.precision,
        files={},
        categories=model.categories,
        input=ImageInput(mean, (red, green, blue), rule.channel_order, SIZE_DIVISOR, settings.size),
        settings=replace(model.settings),
        config=model.config,
        made_with=_versions(),
        cpu=processor_kind() if settings.precision == "int8" else None,
    )


def _versions() -> dict[str, str]:
    versions = {"panoptic_blend": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _not_installed(error: ImportError) -> ConfigError:
    extra = {"nncf": "int8", "openvino": "openvino"}.get(error.name or "", "onnx")
    return ConfigError(f"This export needs {error.name}. Install it: pip install 'panoptic-blend[{extra}]'")
