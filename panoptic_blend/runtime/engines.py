"""The runtimes that run a graph, behind one interface."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from panoptic_blend.errors import CheckpointError, out_of_memory
from panoptic_blend.runtime.model_files import EXPORT_AGAIN


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


class OnnxRuntime:
    """An ONNX graph in onnxruntime, on the CPU.

    Args:
        path: of the graph.
        threads: None leaves their number to the runtime.

    Raises:
        CheckpointError: onnxruntime is not installed, or refuses the file.
    """

    def __init__(self, path: Path, threads: int | None = None):
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
        if threads is not None:
            options.intra_op_num_threads = threads
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


class OpenVINO:
    """A network of OpenVINO's own format in OpenVINO, on the CPU.

    Args:
        path: of the graph, an .xml file.
        weights: its .bin file.
        threads: None leaves their number to the runtime.

    Attributes:
        inputs: their names.
        outputs: their names.

    Raises:
        CheckpointError: OpenVINO is not installed, or refuses the files.
    """

    def __init__(self, path: Path, weights: Path, threads: int | None = None):
        try:
            import openvino
        except ImportError as error:
            raise _not_installed(path, "openvino", "openvino") from error
        self._path = path
        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": False})  # who writes over a file that is mapped would end this process
        # Single precision, as measured when it was exported.
        hints: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            hints["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = core.compile_model(core.read_model(str(path), str(weights)), "CPU", hints)
        except (RuntimeError, ValueError) as error:
            raise _refused(path, f"OpenVINO {openvino.__version__}", error) from error
        self._request = compiled.create_infer_request()
        self._one_at_a_time = threading.Lock()
        self.inputs, self.outputs = (
            [min(port.get_names(), default="") for port in ports] for ports in (compiled.inputs, compiled.outputs)
        )

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """As `Session`'s."""
        with self._one_at_a_time:  # the results lie in the request until they are copied
            try:
                results = self._request.infer(dict(feeds))
            except RuntimeError as error:
                raise _failed(self._path, error) from error
            return {name: np.array(values) for name, values in zip(self.outputs, results.values(), strict=True)}


def _onnx_value(found: Any) -> Value:
    dtype = found.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    return Value(dtype, [side if isinstance(side, int) else None for side in found.shape])


def _not_installed(path: Path, package: str, extra: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: needs {package}, which is not installed. Run `pip install {package}`, or `pip install "
        f"'panoptic-blend[{extra}]'`."
    )


def _refused(path: Path, runtime: str, error: Exception) -> CheckpointError:
    lacking = re.search(r"implementation for (\w+)\(", str(error))  # as older ones have none of DeformConv
    if lacking:
        return CheckpointError(
            f"{path}: needs the operator {lacking[1]}, which {runtime} does not have. Install a newer one."
        )
    return CheckpointError(
        f"{path}: {runtime} cannot open it ({_one_line(error)}). Install a newer one, or "
        "export the model again with `panoptic-blend export`."
    )


def _failed(path: Path, error: Exception) -> Exception:
    if out_of_memory(error) or "llocate" in str(error):
        return MemoryError(_one_line(error))
    return CheckpointError(f"{path}: failed on an image ({_one_line(error)}). {EXPORT_AGAIN}")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
