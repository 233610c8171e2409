"""Writes a model as a folder that runs without torch, and tries it before anyone else does."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from panoptic_blend._version import __version__
from panoptic_blend.errors import CheckpointError, ConfigError
from panoptic_blend.exporting.instructions import instructions
from panoptic_blend.exporting.verification import verify
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.modeling.input_rule import SIZE_DIVISOR
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import MODEL, ImageInput, Manifest, write_manifest

Format = Literal["onnx", "torch"]
LOWEST_TORCH = (2, 9)
"""Whose exporter this was written for; running what was exported takes no torch."""
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")
_RUNTIMES: dict[Format, Any] = {"onnx": "onnxruntime", "torch": "torch"}


@dataclass(frozen=True)
class ExportSettings:
    """How a model is exported.

    Args:
        format: 'onnx' holds everything from the picture to the id map, 'torch' the network alone.
        precision: of the network; what surrounds it is fp32 always.
        size: (height, width) of the only pictures it takes; by default it takes pictures of any size.
    """

    format: Format = "onnx"
    precision: Literal["fp32", "fp16"] = "fp32"
    size: tuple[int, int] | None = None


def export_model(model: PanopticBlend, folder: Path, settings: ExportSettings) -> Manifest:
    """Write a model into a new folder, whole or not at all: its files, `model.json` and README.md.

    The files are tried on one picture before the folder appears; `measured` in the manifest says what came out.

    Args:
        model: stays as it is.
        folder: a new one.
        settings: how.

    Raises:
        ConfigError: the folder is in use, torch is too old, or a package is missing.
        CheckpointError: the model cannot be exported, or the files do not give what the model gives.
    """
    _require_torch()
    model = copy.deepcopy(model).cpu().eval()
    with atomic_folder(folder) as unfinished:
        manifest = Manifest(
            runtime=_RUNTIMES[settings.format],
            precision=settings.precision,
            files={MODEL: _WRITERS[settings.format](model, unfinished, settings)},
            categories=model.categories,
            input=_image_input(model, settings),
            settings=replace(model.settings),
            config=model.config,
            made_with=_versions(),
        )
        write_manifest(manifest, unfinished)
        manifest = replace(manifest, measured=_TRIALS[settings.format](model, unfinished, settings))
        write_manifest(manifest, unfinished)
        (unfinished / "README.md").write_text(instructions(manifest), encoding="utf-8")
    return manifest


def _require_torch() -> None:
    found = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if found < LOWEST_TORCH:
        lowest = ".".join(map(str, LOWEST_TORCH))
        raise ConfigError(
            f"Exporting needs torch {lowest} or newer, this is {torch.__version__}. Run `pip install "
            f"'torch>={lowest}'`; what was exported runs without torch."
        )


def _write_onnx(model: PanopticBlend, folder: Path, settings: ExportSettings) -> str:
    try:
        import onnxruntime  # noqa: F401  # which the graph is tried with

        from panoptic_blend.exporting.graph import build_graph
    except ImportError as error:
        raise _not_installed(error) from error
    try:
        graph = build_graph(model, settings.precision == "fp16", settings.size)
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(f"torch {torch.__version__} cannot export this network: {_last_line(error)}") from error
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return "model.onnx"


def _try_onnx(model: PanopticBlend, folder: Path, settings: ExportSettings) -> dict[str, object]:
    return verify(model, ExportedModel(folder), exact=settings.precision == "fp32")


def _write_torch(model: PanopticBlend, folder: Path, settings: ExportSettings) -> str:
    network, images, dynamic = _network_alone(model, settings)
    program = torch.export.export(network, (images,), dynamic_shapes=None if dynamic is None else (dynamic,))
    torch.export.save(program, folder / "model.pt2")
    return "model.pt2"


def _try_torch(model: PanopticBlend, folder: Path, settings: ExportSettings) -> dict[str, object]:
    network, images, _ = _network_alone(model, settings)
    loaded = torch.export.load(folder / "model.pt2").module()
    images = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images.dtype)
    with torch.no_grad():
        pairs = zip(network(images), loaded(images), strict=True)
        return {"largest_difference": max(float((ours - theirs).abs().max()) for ours, theirs in pairs)}


def _network_alone(
    model: PanopticBlend, settings: ExportSettings
) -> tuple[nn.Module, torch.Tensor, dict[int, Any] | None]:
    """The network as it is exported, an input, and which of its sides may differ."""
    try:
        from panoptic_blend.exporting.network import example_input, padded_size, prepare_network
    except ImportError as error:
        raise _not_installed(error) from error
    half = settings.precision == "fp16"
    images, dynamic = example_input(half, None if settings.size is None else padded_size(model, settings.size))
    return prepare_network(model, half), images, dynamic


_WRITERS = {"onnx": _write_onnx, "torch": _write_torch}
_TRIALS = {"onnx": _try_onnx, "torch": _try_torch}


def _image_input(model: PanopticBlend, settings: ExportSettings) -> ImageInput:
    config = model.config.input
    assert config.pixel_mean is not None
    assert config.pixel_std is not None
    return ImageInput(config.pixel_mean, config.pixel_std, config.channel_order, SIZE_DIVISOR, settings.size)


def _versions() -> dict[str, str]:
    versions = {"panoptic_blend": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except ImportError:
            continue
    return versions


def _not_installed(error: ImportError) -> ConfigError:
    return ConfigError(f"This export needs {error.name}. Install it: pip install 'panoptic-blend[onnx]'")


def _last_line(error: Exception) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0][:300]
