"""Writes a model as a folder that runs without torch, and tries it before anyone else does."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from panoptic_blend._version import __version__
from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import CheckpointError, ConfigError, DatasetError
from panoptic_blend.exporting.guard import Guard, quantize_within
from panoptic_blend.exporting.instructions import instructions
from panoptic_blend.exporting.verification import verify
from panoptic_blend.files.atomic import atomic_folder
from panoptic_blend.files.images import Pixels, read_rgb
from panoptic_blend.files.pictures import RGB
from panoptic_blend.inference.writing import check_same_categories
from panoptic_blend.modeling.input_rule import SIZE_DIVISOR
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import AFTER, BEFORE, MODEL, WEIGHTS, ImageInput, Manifest, write_manifest
from panoptic_blend.runtime.processor import processor_kind

if TYPE_CHECKING:  # of an extra
    from onnx import ModelProto

Format = Literal["onnx", "openvino", "torch"]
LOWEST_TORCH = (2, 9)
"""Whose exporter this was written for; running what was exported takes no torch."""
CALIBRATED = 100
"""Images that int8 is calibrated on, at most."""
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")
_FILES: dict[Format, dict[str, str]] = {
    "onnx": {MODEL: "model.onnx"},
    "openvino": {BEFORE: "before.onnx", MODEL: "network.xml", WEIGHTS: "network.bin", AFTER: "after.onnx"},
    "torch": {MODEL: "model.pt2"},
}
_FEWEST_EQUAL = {"fp32": 0.99, "fp16": 0.9, "int8": 0.5}
"""Share of a picture's pixels of the model's own category, below which a file is not handed out by default."""
_RUNTIMES: dict[Format, Any] = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}


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
    if model.channels != RGB:
        raise CheckpointError(
            f"This model reads {model.channels} bands (model.input.channels); models of RGB alone are exported. "
            "Predict with the checkpoint."
        )
    _check_int8(model, settings)
    model = copy.deepcopy(model).cpu().eval()
    with atomic_folder(folder) as unfinished:
        manifest = Manifest(
            runtime=_RUNTIMES[settings.format],
            precision=settings.precision,
            files=_FILES[settings.format],
            categories=model.categories,
            input=_image_input(model, settings),
            settings=replace(model.settings),
            config=model.config,
            made_with=_versions(),
            cpu=processor_kind() if settings.precision == "int8" else None,
        )
        write_manifest(manifest, unfinished)
        manifest = replace(manifest, measured=_WRITERS[settings.format](model, unfinished, settings, said))
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


def _check_int8(model: PanopticBlend, settings: ExportSettings) -> None:
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


def _write_onnx(
    model: PanopticBlend, folder: Path, settings: ExportSettings, said: Callable[[str], None]
) -> dict[str, object]:
    try:
        import onnxruntime  # noqa: F401  # which the graph is tried with

        from panoptic_blend.exporting.graph import build_graph, build_stages, network_alone

        if settings.format == "openvino":
            import openvino
        if settings.precision == "int8":
            import nncf  # noqa: F401

            from panoptic_blend.exporting.integers import prepare_for_onnxruntime
    except ImportError as error:
        raise _not_installed(error) from error
    half, files = settings.precision == "fp16", _FILES[settings.format]
    fewest_equal = _FEWEST_EQUAL[settings.precision] if settings.fewest_equal is None else settings.fewest_equal
    try:
        network = network_alone(model, half, settings.size)
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(f"torch {torch.__version__} cannot export this network: {_last_line(error)}") from error

    def write(network: ModelProto) -> None:
        if settings.format == "onnx":
            if settings.precision == "int8":
                network = copy.deepcopy(network)
                prepare_for_onnxruntime(network, inputs)
            save(build_graph(model, half, settings.size, network), MODEL)
            return
        before, after = build_stages(model, network, half, settings.size)
        save(before, BEFORE)
        save(after, AFTER)
        try:
            converted = openvino.Core().read_model(network.SerializeToString())
        except RuntimeError as error:
            lacking = re.search(r"No conversion rule found for operations: (.*)", str(error))
            reason = f"it lacks {lacking[1].strip()}" if lacking else _last_line(error)
            raise CheckpointError(
                f"OpenVINO {openvino.__version__} cannot run this network ({reason}). Export it with --format onnx."
            ) from error
        openvino.save_model(converted, folder / files[MODEL], compress_to_fp16=half)

    def save(graph: ModelProto, name: str) -> None:
        (folder / files[name]).write_bytes(graph.SerializeToString())

    if settings.precision != "int8":
        write(network)
        return verify(model, ExportedModel(folder), fewest_equal)
    pictures = _read_pictures(settings)
    inputs = [model.input_rule([model.resize(to_tensor(picture))]).numpy() for picture in pictures]
    measured = quantize_within(network, inputs, write, lambda: ExportedModel(folder), settings.guard, said)
    return verify(model, ExportedModel(folder), fewest_equal, pictures[0]) | measured


def _read_pictures(settings: ExportSettings) -> list[Pixels]:
    """The images to calibrate on, spread evenly over those given."""
    step = max(1, len(settings.calibration) // CALIBRATED)
    pictures = []
    for path in settings.calibration[::step][:CALIBRATED]:
        picture = read_rgb(path)
        if settings.size not in (None, picture.shape[:2]):
            height, width = settings.size or (0, 0)
            raise DatasetError(
                f"{path}: is {picture.shape[1]} x {picture.shape[0]}, but --size exports for {width} x {height} alone. "
                "Calibrate on images of that size."
            )
        pictures.append(picture)
    return pictures


def _write_torch(
    model: PanopticBlend, folder: Path, settings: ExportSettings, said: Callable[[str], None]
) -> dict[str, object]:
    network, images, dynamic = _network_alone(model, settings)
    program = torch.export.export(network, (images,), dynamic_shapes=None if dynamic is None else (dynamic,))
    file = folder / _FILES["torch"][MODEL]
    torch.export.save(program, file)
    loaded = torch.export.load(file).module()
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


_WRITERS = {"onnx": _write_onnx, "openvino": _write_onnx, "torch": _write_torch}


def _image_input(model: PanopticBlend, settings: ExportSettings) -> ImageInput:
    config = model.config.input
    assert config.pixel_mean is not None
    assert config.pixel_std is not None
    red, green, blue = config.pixel_mean
    mean = red, green, blue
    red, green, blue = config.pixel_std
    return ImageInput(mean, (red, green, blue), config.channel_order, SIZE_DIVISOR, settings.size)


def _versions() -> dict[str, str]:
    versions = {"panoptic_blend": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except ImportError:
            continue
    return versions


def _not_installed(error: ImportError) -> ConfigError:
    extra = {"nncf": "int8", "openvino": "openvino"}.get(error.name or "", "onnx")
    return ConfigError(f"This export needs {error.name}. Install it: pip install 'panoptic-blend[{extra}]'")


def _last_line(error: Exception) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0][:300]
