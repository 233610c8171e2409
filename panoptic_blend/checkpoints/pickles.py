"""Arrays out of pickles from strangers, without running anything they ask for.

A pickle is a program: it names functions and has them called. Refusing all names but numpy's is not enough, as numpy's
own hooks trust their arguments (a forged dtype makes bytes pass for pointers). So no function of numpy's is handed to a
pickle either: stand-ins write down what an array is said to be, and it is built from checked values afterwards.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from panoptic_blend.errors import MALFORMED, CheckpointError

Array = npt.NDArray[Any]

_NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|\?)")


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dict of arrays, strings, numbers and containers.

    Returns:
        The dict; arrays come as numpy arrays one level deep and in dicts at its 'model' and 'blobs'.

    Raises:
        CheckpointError: the file is unreadable, not a pickled dict, or asks for anything else to be called.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except _Refused as refused:
        raise CheckpointError(
            f"{path}: refused, because loading it would call {refused}. Weights need arrays, text, numbers and "
            "containers only; get the file from a source you trust, or have it saved as safetensors."
        ) from refused
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    except (pickle.UnpicklingError, *MALFORMED) as error:
        raise CheckpointError(
            f"{path}: not a readable pickle ({error}). It may be truncated or of another kind."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a dict of arrays by name.")
    try:
        for section in ("model", "blobs"):
            if isinstance(content.get(section), dict):
                content[section] = _build_arrays(content[section])
        return _build_arrays(content)
    except ValueError as error:
        raise CheckpointError(f"{path}: an array does not hold together: {error}.") from error


def _build_arrays(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value.build() if isinstance(value, _Array) else value for name, value in content.items()}


class _Refused(pickle.UnpicklingError):
    """The full name of what a pickle may not have."""


class _Dtype:
    """What `numpy.dtype` was called with: plain numbers only."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: object, align: object = False, copy: object = True):
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise _Refused(f"numpy.dtype({code!r})")
        self._code = code
        self._order = ""

    def __setstate__(self, state: Any) -> None:
        _, order, *rest = state
        if order not in ("<", ">", "|", "=") or any(each is not None for each in rest[:3]):
            raise _Refused("numpy.dtype.__setstate__ for a structured type")
        self._order = order if order in "<>" else ""

    def build(self) -> np.dtype[Any]:
        return np.dtype(self._order + self._code.lstrip("<>=|") if self._order else self._code)


class _Array:
    """What an array was said to be."""

    __slots__ = ("_data", "_dtype", "_fortran", "_shape")

    def __init__(self, data: object = b"", dtype: object = None, shape: object = (0,), fortran: bool = False):
        self._describe(shape, dtype if dtype is not None else _Dtype("f4"), fortran, data)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self._describe(shape, dtype, bool(fortran), data)

    def _describe(self, shape: object, dtype: object, fortran: bool, data: object) -> None:
        data = data.encode("latin1") if isinstance(data, str) else data  # Python 2's bytes
        if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise _Refused(f"numpy.ndarray.__setstate__ with shape {shape!r}")
        if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
            raise _Refused("numpy.ndarray.__setstate__ with something else than a number type and bytes")
        self._shape, self._dtype, self._fortran, self._data = shape, dtype, fortran, data

    def build(self) -> Array:
        """A writable array of its own; `ValueError` when the bytes are not as many as shape and type need."""
        flat = np.frombuffer(self._data, self._dtype.build())
        native = flat.astype(flat.dtype.newbyteorder("="))
        return native.reshape(self._shape, order="F" if self._fortran else "C")


class _Call:
    """A function for pickles to call that they cannot tamper with: it has no attributes to set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise _Refused("__setstate__ of a function")


_NDARRAY = _Call(lambda *arguments: _refuse("numpy.ndarray"))


def _refuse(name: str) -> NoReturn:
    raise _Refused(name)


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY:
        raise _Refused("numpy's _reconstruct for another type than ndarray")
    return _Array()


def _scalar(dtype: object, data: object) -> _Array:
    return _Array(data, dtype, ())


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    return _Array(data, dtype, shape, order == "F")


def _encode(text: object, encoding: object = "utf-8") -> bytes:
    """How Python 3 writes bytes in pickles that Python 2 could read."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused(f"_codecs.encode to {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_KNOWN = {
    ("collections", "OrderedDict"): _Call(dict),  # whose methods a pickle cannot replace
    ("_codecs", "encode"): _Call(_encode),
    ("__builtin__", "bytes"): _Call(_no_bytes),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Call(_Dtype),
    **{
        (f"numpy.{core}.{module}", name): _Call(function)
        for core in ("core", "_core")  # before and since numpy 2
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise _Refused(f"{module}.{name}")
        return _KNOWN[module, name]
