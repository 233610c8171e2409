"""Opens the files of an exported folder in the runtime they are for: one interface, whichever runs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from panoptic_blend.errors import CheckpointError, out_of_memory
from panoptic_blend.runtime.manifest import MODEL, WEIGHTS, Manifest
from panoptic_blend.runtime.onnx_file import check_onnx

IMAGE = "image"
THRESHOLDS = ("min_score", "max_overlap", "min_stuff_area")
"""Settings that a graph may take as inputs, each a single number."""
OUTPUTS = {"id_map": ("int32", 2), "segments": ("int32", 2), "scores": ("float32", 1)}
"""A graph's outputs: what they hold, and their dimensions."""


class Value(NamedTuple):
    """An input or output of a graph.

    Attributes:
        dtype: numpy's name of it.
        shape: None where a dimension is free.
    """

    dtype: str
    shape: list[int | None]


class Session(Protocol):
    """A graph that was opened.

    Attributes:
        inputs: by name, those with defaults too.
        outputs: by name.
    """

    inputs: dict[str, Value]
    outputs: dict[str, Value]

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name."""


def open_session(manifest: Manifest, folder: Path) -> Session:
    """Open the graph of an exported folder.

    Raises:
        CheckpointError: the runtime is not installed or refuses the file, the file asks for what lies outside of its
            folder, or its inputs and outputs are not those of an exported model.
    """
    path = folder / manifest.files[MODEL]
    if manifest.runtime == "torch":
        raise CheckpointError(
            f"{folder}: is the network alone, for programs that load `torch.export` files. Predict with the checkpoint "
            "it was made from, or export that with --format onnx."
        )
    weights = folder / manifest.files[WEIGHTS] if WEIGHTS in manifest.files else None
    if path.suffix == ".onnx":
        check_onnx(path, folder)
    elif manifest.runtime == "onnxruntime" or weights is None:  # OpenVINO would look for them itself
        raise CheckpointError(
            f"{folder}: onnxruntime runs an .onnx file, OpenVINO this or an .xml file and its '{WEIGHTS}', but here "
            f"are {', '.join(manifest.files.values())}. {_REMEDY}"
        )
    session: Session = _OnnxRuntime(path) if manifest.runtime == "onnxruntime" else _OpenVINO(path, weights)
    _check_interface(session, path)
    return session


class _OnnxRuntime:
    """A graph in onnxruntime, on the CPU."""

    def __init__(self, path: Path):
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as state
        except ImportError as error:
            raise _not_installed(path, "onnxruntime", "onnx") from error
        # onnxruntime's errors have no base of their own.
        self._refusals = (
            state.EPFail,
            state.Fail,
            state.InvalidArgument,
            state.InvalidGraph,
            state.InvalidProtobuf,
            state.NoSuchFile,
            state.NotImplemented,
            state.RuntimeException,
            RuntimeError,
            ValueError,
        )
        self._path = path
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what matters is raised
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except self._refusals as error:
            raise _refused(path, f"onnxruntime {onnxruntime.__version__}", error) from error
        given = [*self._session.get_inputs(), *self._session.get_overridable_initializers()]
        self.inputs = {each.name: _onnx_value(each) for each in given}
        self.outputs = {each.name: _onnx_value(each) for each in self._session.get_outputs()}

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """As `Session`'s."""
        try:
            results = self._session.run(list(self.outputs), dict(feeds))
        except self._refusals as error:
            raise _failed(self._path, error) from error
        return dict(zip(self.outputs, results, strict=True))


class _OpenVINO:
    """A graph in OpenVINO, on the CPU."""

    def __init__(self, path: Path, weights: Path | None):
        try:
            import openvino
        except ImportError as error:
            raise _not_installed(path, "openvino", "openvino") from error
        self._path = path
        core = openvino.Core()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}  # as measured when it was exported
        try:
            graph = core.read_model(str(path), str(weights)) if weights else core.read_model(str(path))
            compiled = core.compile_model(graph, "CPU", hints)
        except (RuntimeError, ValueError) as error:
            raise _refused(path, f"OpenVINO {openvino.__version__}", error) from error
        self._request = compiled.create_infer_request()
        self._names = [_openvino_name(port) for port in compiled.outputs]
        self.inputs = {_openvino_name(port): _openvino_value(port) for port in compiled.inputs}
        self.outputs = {_openvino_name(port): _openvino_value(port) for port in compiled.outputs}

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """As `Session`'s."""
        try:
            results = self._request.infer(dict(feeds), share_inputs=True)
        except RuntimeError as error:
            raise _failed(self._path, error) from error
        return {name: np.array(values) for name, values in zip(self._names, results.values(), strict=True)}


def _onnx_value(found: Any) -> Value:
    dtype = found.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    return Value(dtype, [side if isinstance(side, int) else None for side in found.shape])


def _openvino_name(port: Any) -> str:
    return min(port.get_names(), default="")


def _openvino_value(port: Any) -> Value:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return Value(port.get_element_type().to_dtype().name, [])
    return Value(
        port.get_element_type().to_dtype().name, [None if side.is_dynamic else side.get_length() for side in shape]
    )


def _check_interface(session: Session, path: Path) -> None:
    """Raise `CheckpointError` unless a graph takes an image and gives a panoptic map."""
    for name in [IMAGE, *session.inputs]:
        value = session.inputs.get(name)
        if value is None:
            raise CheckpointError(f"{path}: has no input {IMAGE!r}, but {_some(session.inputs)}. {_REMEDY}")
        if name == IMAGE:
            wanted, fits = "uint8 [H, W, 3]", value.dtype == "uint8" and len(value.shape) == 3 and value.shape[2] == 3
        elif name in THRESHOLDS:
            wanted, fits = "a number", value.dtype in ("float32", "int32", "int64") and value.shape == []
        else:
            raise CheckpointError(f"{path}: has an input {name!r}, which no exported model has. {_REMEDY}")
        if not fits:
            raise CheckpointError(f"{path}: its input {name!r} is {_describe(value)}, not {wanted}. {_REMEDY}")
    for name, (dtype, dimensions) in OUTPUTS.items():
        value = session.outputs.get(name)
        if value is None:
            raise CheckpointError(f"{path}: has no output {name!r}, but {_some(session.outputs)}. {_REMEDY}")
        if value.dtype != dtype or len(value.shape) != dimensions:
            raise CheckpointError(
                f"{path}: its output {name!r} is {_describe(value)}, not {dtype} of {dimensions} dimensions. {_REMEDY}"
            )


_REMEDY = "Export the model again with `panoptic-blend export`."


def _describe(value: Value) -> str:
    return f"{value.dtype} [{', '.join('?' if side is None else str(side) for side in value.shape)}]"


def _some(names: Mapping[str, Value]) -> str:
    return ", ".join(list(names)[:5]) or "none"


def _not_installed(path: Path, package: str, extra: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: needs {package}, which is not installed. Run `pip install {package}`, or `pip install "
        f"'panoptic-blend[{extra}]'`."
    )


def _refused(path: Path, runtime: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: {runtime} cannot open it ({_one_line(error)}). It may be damaged: copy it "
        "again; or install a newer runtime."
    )


def _failed(path: Path, error: Exception) -> Exception:
    if out_of_memory(error) or "llocate" in str(error):
        return MemoryError(_one_line(error))
    return CheckpointError(f"{path}: failed on an image ({_one_line(error)}). {_REMEDY}")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
