"""Opens the files of an exported folder in the runtime they are for: one interface, whichever runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from panoptic_blend.errors import CheckpointError
from panoptic_blend.runtime.engines import OnnxRuntime, OpenVINO, Session, Value
from panoptic_blend.runtime.interface import IMAGE, OUTPUTS, THRESHOLDS
from panoptic_blend.runtime.manifest import AFTER, BEFORE, MANIFEST, MODEL, WEIGHTS, Manifest
from panoptic_blend.runtime.model_files import EXPORT_AGAIN, check_content
from panoptic_blend.runtime.onnx_file import check_onnx


def open_session(manifest: Manifest, folder: Path, threads: int | None = None) -> Session:
    """Open the graphs of an exported folder as one.

    Args:
        manifest: of the folder.
        folder: the exported one.
        threads: that compute; None leaves their number to the runtime.

    Raises:
        CheckpointError: a file is not what was exported, the runtime is not installed or refuses one, a graph asks for
            what lies outside of its file, or its inputs and outputs are not those of an exported model.
    """
    if manifest.runtime == "torch":
        raise CheckpointError(
            f"{folder}: is the network alone, for programs that load `torch.export` files. Predict with the checkpoint "
            "it was made from, or export that with --format onnx."
        )
    for file in manifest.files.values():  # before any runtime reads them: a damaged file may end its process
        check_content(folder, file)
    path = folder / manifest.files[MODEL].name
    if manifest.runtime == "onnxruntime":
        session: Session = OnnxRuntime(_checked(path), threads)
    else:
        before, weights, after = (_file(manifest, folder, key) for key in (BEFORE, WEIGHTS, AFTER))
        if path.suffix != ".xml":
            raise CheckpointError(f"{path}: OpenVINO runs an .xml file. {EXPORT_AGAIN}")
        first, last = OnnxRuntime(_checked(before), threads), OnnxRuntime(_checked(after), threads)
        session = _Stages(first, OpenVINO(path, weights, threads), last, path)
    _check_interface(session, path)
    return session


class _Stages:
    """A picture's way through three graphs: what stands before a network, the network, and what follows it."""

    def __init__(self, before: Session, network: OpenVINO, after: Session, path: Path):
        self._before, self._network, self._after = before, network, after
        own = {IMAGE, *THRESHOLDS}
        self.inputs = before.inputs | {name: value for name, value in after.inputs.items() if name in own}
        self.outputs = after.outputs
        for there, wanted, whose in (
            (before.outputs, network.inputs, "before"),
            (network.outputs, after.inputs.keys() - own, "after"),
        ):
            if set(there) != set(wanted):
                raise CheckpointError(
                    f"{path}: does not fit what stands {whose} it: {_some(there)} is handed on, {_some(wanted)} is "
                    f"expected. {EXPORT_AGAIN}"
                )

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """As `Session`'s."""
        raw = self._network.run(self._before.run({IMAGE: feeds[IMAGE]}))
        return self._after.run({**feeds, **raw})


def _checked(path: Path) -> Path:
    if path.suffix != ".onnx":
        raise CheckpointError(f"{path}: onnxruntime runs an .onnx file. {EXPORT_AGAIN}")
    check_onnx(path)
    return path


def _file(manifest: Manifest, folder: Path, key: str) -> Path:
    if key not in manifest.files:
        raise CheckpointError(
            f"{folder / MANIFEST}: 'files' names {', '.join(manifest.files)}, but for OpenVINO it must name "
            f"{BEFORE}, {MODEL}, {WEIGHTS} and {AFTER}. {EXPORT_AGAIN}"
        )
    return folder / manifest.files[key].name


def _check_interface(session: Session, path: Path) -> None:
    """Raise `CheckpointError` unless a graph takes an image and gives a panoptic map."""
    for name in [IMAGE, *session.inputs]:
        value = session.inputs.get(name)
        if value is None:
            raise CheckpointError(f"{path}: has no input {IMAGE!r}, but {_some(session.inputs)}. {EXPORT_AGAIN}")
        if name == IMAGE:
            wanted, fits = "uint8 [H, W, 3]", value.dtype == "uint8" and len(value.shape) == 3 and value.shape[2] == 3
        elif name in THRESHOLDS:
            wanted, fits = f"a number of {THRESHOLDS[name]}", value == Value(THRESHOLDS[name], [])
        else:
            raise CheckpointError(f"{path}: has an input {name!r}, which no exported model has. {EXPORT_AGAIN}")
        if not fits:
            raise CheckpointError(f"{path}: its input {name!r} is {_describe(value)}, not {wanted}. {EXPORT_AGAIN}")
    for name, (dtype, dimensions) in OUTPUTS.items():
        value = session.outputs.get(name)
        if value is None:
            raise CheckpointError(f"{path}: has no output {name!r}, but {_some(session.outputs)}. {EXPORT_AGAIN}")
        if value.dtype != dtype or len(value.shape) != dimensions:
            raise CheckpointError(
                f"{path}: its output {name!r} is {_describe(value)}, not {dtype} of {dimensions} dimensions. "
                f"{EXPORT_AGAIN}"
            )


def _describe(value: Value) -> str:
    return f"{value.dtype} [{', '.join('?' if side is None else str(side) for side in value.shape)}]"


def _some(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:5]) or "none"
