"""Writes a model as a folder that runs without torch, and tries it before anyone else does."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from panoptic_blend._version import __version__
from panoptic_blend.errors import CheckpointError, ConfigError
from panoptic_blend.exporting.instructions import instructions
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.modeling.input_rule import SIZE_DIVISOR
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.manifest import ImageInput, Manifest, write_manifest

Format = Literal["onnx", "openvino", "torch"]
LOWEST_TORCH = (2, 9)
"""Whose exporter this was written for; running what was exported takes no torch."""
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")
_RUNTIMES: dict[str, Any] = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}


@dataclass(frozen=True)
class ExportSettings:
    """How a model is exported.

    Args:
        format: 'onnx' and 'openvino' hold everything from the picture to the id map, 'torch' the network alone.
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
        files, measured = _WRITERS[settings.format](model, unfinished, settings)
        manifest = Manifest(
            runtime=_RUNTIMES[settings.format],
            precision=settings.precision,
            files=files,
            categories=model.categories,
            input=_image_input(model, settings),
            settings=replace(model.settings),
            config=model.config,
            made_with=_versions(),
            measured=measured,
        )
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


def _write_onnx(
    model: PanopticBlend, folder: Path, settings: ExportSettings
) -> tuple[dict[str, str], dict[str, object]]:
    try:
        from panoptic_blend.exporting.graph import build_graph
        from panoptic_blend.exporting.verification import open_onnx, verify
    except ImportError as error:
        raise _not_installed("onnx", error) from error
    half = settings.precision == "fp16"
    try:
        graph = build_graph(model, half, settings.size).SerializeToString()
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(f"torch {torch.__version__} cannot export this network: {_last_line(error)}") from error
    (folder / "model.onnx").write_bytes(graph)
    return {"model": "model.onnx"}, verify(model, open_onnx(folder / "model.onnx"), settings.size, exact=not half)


def _write_torch(
    model: PanopticBlend, folder: Path, settings: ExportSettings
) -> tuple[dict[str, str], dict[str, object]]:
    try:
        from panoptic_blend.exporting.network import example_input, padded_size, prepare_network
    except ImportError as error:
        raise _not_installed("onnx", error) from error
    half = settings.precision == "fp16"
    network = prepare_network(model, half)
    size = None if settings.size is None else padded_size(model, settings.size)
    images, dynamic = example_input(half, size)
    program = torch.export.export(network, (images,), dynamic_shapes=None if dynamic is None else (dynamic,))
    torch.export.save(program, folder / "model.pt2")
    loaded = torch.export.load(folder / "model.pt2").module()
    torch.manual_seed(0)
    images = torch.randn(images.shape).to(images.dtype)
    with torch.no_grad():
        pairs = zip(network(images), loaded(images), strict=True)
        difference = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    return {"model": "model.pt2"}, {"largest_difference": difference}


_WRITERS = {"onnx": _write_onnx, "torch": _write_torch}


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


def _not_installed(extra: str, error: ImportError) -> ConfigError:
    return ConfigError(f"This export needs {error.name}. Install it: pip install 'panoptic-blend[{extra}]'")


def _last_line(error: Exception) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0][:300]
