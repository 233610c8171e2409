"""A whole model as files that onnxruntime or OpenVINO runs."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime  # noqa: F401  # which the files are tried with
import torch

from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import CheckpointError, DatasetError
from panoptic_blend.exporting.graph import build_graph, build_stages, network_alone
from panoptic_blend.exporting.guard import quantize_within
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.exporting.verification import verify
from panoptic_blend.files.images import Pixels, read_rgb
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import AFTER, BEFORE, MODEL, WEIGHTS, Manifest, write_manifest
from panoptic_blend.runtime.model_files import describe_files

CALIBRATED = 100
"""Images that int8 is calibrated on, at most."""
ONNX_FILES = {MODEL: "model.onnx"}
OPENVINO_FILES = {BEFORE: "before.onnx", MODEL: "network.xml", WEIGHTS: "network.bin", AFTER: "after.onnx"}
_FEWEST_EQUAL = {"fp32": 0.99, "fp16": 0.9, "int8": 0.5}
"""Share of a picture's pixels of the model's own category, below which a file is not handed out by default."""


def write_graphs(
    model: PanopticBlend, folder: Path, settings: ExportSettings, about: Manifest, said: Callable[[str], None]
) -> Manifest:
    """Write a model into a folder with a `model.json`, and compare what it sees there on a picture.

    Args:
        model: stays as it is.
        folder: for the files.
        settings: of the export.
        about: what is known without the files.
        said: told how it goes on.

    Returns:
        `about` with the files and what was measured, which are not in `model.json` yet.

    Raises:
        ImportError: a package is missing.
        CheckpointError, DatasetError: as `export_model`.
    """
    if settings.format == "openvino":
        import openvino  # noqa: F401  # what is missing is said before the work begins
    if settings.precision == "int8":
        import nncf  # noqa: F401
    half, int8 = settings.precision == "fp16", settings.precision == "int8"
    try:
        network = network_alone(model, half, settings.size)
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(f"torch {torch.__version__} cannot export this network: {_first_line(error)}") from error
    first, inputs = None, []
    for picture in _read_pictures(settings):
        first = picture if first is None else first
        inputs.append(model.input_rule([model.resize(to_tensor(picture))]).numpy())

    def write(network: onnx.ModelProto) -> ExportedModel:
        if settings.format == "openvino":
            before, after = build_stages(model, network, half, settings.size)
            _save(before, folder / OPENVINO_FILES[BEFORE])
            _save(after, folder / OPENVINO_FILES[AFTER])
            _save_for_openvino(network, folder / OPENVINO_FILES[MODEL], half)
            files = describe_files(folder, OPENVINO_FILES)
        else:
            if int8:
                from panoptic_blend.exporting.integers import prepare_for_onnxruntime

                network = copy.deepcopy(network)
                prepare_for_onnxruntime(network, inputs)
            _save(build_graph(model, half, settings.size, network), folder / ONNX_FILES[MODEL])
            files = describe_files(folder, ONNX_FILES)
        write_manifest(replace(about, files=files), folder)
        return ExportedModel(folder)

    measured: dict[str, object] = {}
    if int8:
        measured = quantize_within(network, inputs, write, settings.guard, said)
    else:
        write(network)
    exported = ExportedModel(folder)
    fewest_equal = _FEWEST_EQUAL[settings.precision] if settings.fewest_equal is None else settings.fewest_equal
    compared = verify(model, exported, fewest_equal, first)
    return replace(exported.manifest, measured=compared | measured)


def _save(graph: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(graph.SerializeToString())


def _save_for_openvino(network: onnx.ModelProto, path: Path, half: bool) -> None:
    """Write a network as OpenVINO's own .xml file, and the .bin file beside it."""
    import openvino

    try:
        converted = openvino.Core().read_model(network.SerializeToString())
    except RuntimeError as error:
        lacking = re.search(r"No conversion rule found for operations: (.*)", str(error))
        reason = f"it lacks {lacking[1].strip()}" if lacking else _first_line(error)
        raise CheckpointError(
            f"OpenVINO {openvino.__version__} cannot run this network ({reason}). Export it with --format onnx."
        ) from error
    openvino.save_model(converted, path, compress_to_fp16=half)


def _read_pictures(settings: ExportSettings) -> Iterator[Pixels]:
    """The images to calibrate on, spread evenly over those given."""
    for path in spread(settings.calibration, CALIBRATED):
        picture = read_rgb(path)
        if settings.size not in (None, picture.shape[:2]):
            height, width = settings.size or (0, 0)
            raise DatasetError(
                f"{path}: is {picture.shape[1]} x {picture.shape[0]}, but --size exports for {width} x {height} alone. "
                "Calibrate on images of that size."
            )
        yield picture


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """At most so many, from the first to the last at equal distances."""
    count = min(len(paths), most)
    return [paths[i * len(paths) // count] for i in range(count)]


def _first_line(error: Exception) -> str:
    lines = str(error.__cause__ or error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
