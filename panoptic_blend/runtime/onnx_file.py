"""What an ONNX file asks for beyond its own bytes: files of weights, and operators that are not ONNX's own.

It is looked at before any runtime opens the file, since a runtime follows what stands in it. ONNX files are protocol
buffers; the few fields that matter are read here, so that running a model needs no package beside the runtime.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from panoptic_blend.errors import CheckpointError
from panoptic_blend.runtime.model_files import EXPORT_AGAIN

_MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
    "StringStringEntryProto": {},
}
"""Messages of onnx.proto3 that lead to what is looked for: the numbers of the fields, and what they hold."""
_TEXTS = {
    ("FunctionProto", 10): "function domain",
    ("NodeProto", 7): "domain",
    ("StringStringEntryProto", 1): "key",
    ("StringStringEntryProto", 2): "value",
}
_OWN_DOMAINS = frozenset(("", "ai.onnx"))
_DEEPEST = 64
"""Graphs within graphs, as messages: a file may be made to nest without end."""


class _Text(NamedTuple):
    kind: str
    value: str


def check_onnx(path: Path) -> None:
    """See that an ONNX file asks for no other file and for no code but the runtime's own.

    Raises:
        CheckpointError: it is damaged or no ONNX file; it keeps weights in another file, which no exported model does;
            it uses operators that ONNX does not define.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = list(_texts(content, 0, len(content), "ModelProto", 0))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise CheckpointError(f"{path}: is no complete ONNX file ({error}). {EXPORT_AGAIN}") from error
    for text in found:
        if text.kind == "location":
            raise CheckpointError(f"{path}: keeps weights in another file, {text.value!r:.200}. {EXPORT_AGAIN}")
    own = _OWN_DOMAINS | {text.value for text in found if text.kind == "function domain"}
    foreign = sorted({text.value for text in found if text.kind == "domain"} - own)
    if foreign:
        raise CheckpointError(
            f"{path}: uses operators of {', '.join(map(repr, foreign))}, which are not ONNX's own, so that running it "
            f"would run other code. {EXPORT_AGAIN}"
        )


def _texts(content: mmap.mmap, start: int, stop: int, message: str, depth: int) -> Iterator[_Text]:
    """The texts of `_TEXTS` in a message and the messages within; `ValueError` where the bytes make none."""
    if depth > _DEEPEST:
        raise ValueError(f"graphs lie more than {_DEEPEST} messages deep in each other")
    inner, place = _MESSAGES[message], start
    while place < stop:
        tag, place = _read_number(content, place, stop)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, place = _read_number(content, place, stop)
            continue
        if wire == 2:
            length, place = _read_number(content, place, stop)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"byte {place} starts no field")
        end = place + length
        if end > stop:
            raise ValueError(f"it ends within a field that starts at byte {place}")
        if wire == 2 and inner.get(number) == "StringStringEntryProto":
            entry = {text.kind: text.value for text in _texts(content, place, end, inner[number], depth + 1)}
            if entry.get("key") == "location":
                yield _Text("location", entry.get("value", ""))
        elif wire == 2 and number in inner:
            yield from _texts(content, place, end, inner[number], depth + 1)
        elif wire == 2 and (message, number) in _TEXTS:
            yield _Text(_TEXTS[message, number], content[place:end].decode("utf-8"))
        place = end


def _read_number(content: mmap.mmap, place: int, stop: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= stop:
            break
        byte = content[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
    raise ValueError(f"byte {place} is within a number")
