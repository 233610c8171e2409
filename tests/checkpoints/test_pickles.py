"""What honest files hold is read; what hostile ones ask for is refused by name and never done."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from panoptic_blend.checkpoints.files import read_weights
from panoptic_blend.checkpoints.pickles import read_pickle
from panoptic_blend.errors import CheckpointError


def _write(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "weights.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


class _Reduced:
    """Pickles as a call of anything, with a state for the result."""

    def __init__(self, *reduction: Any):
        self.reduction = reduction

    def __reduce__(self) -> Any:
        return self.reduction


@settings(deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from(["?", "<i8", "u1", "<f2", "<f4", ">f4", "<f8"]), hnp.array_shapes(min_dims=0, min_side=0)
    ),
    protocol=st.integers(0, 5),
    fortran=st.booleans(),
)
def test_arrays_of_numbers_come_back_whatever_the_protocol(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, protocol: int, fortran: bool
) -> None:
    array = np.asfortranarray(array) if fortran and array.ndim else array
    path = _write(tmp_path_factory.mktemp("pickle"), {"w": array}, protocol)
    read = read_pickle(path)["w"]
    assert read.shape == array.shape
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype.newbyteorder("=")


def test_detectron2_layout_is_read(tmp_path: Path) -> None:
    model = OrderedDict(a=np.arange(6, dtype=np.float32).reshape(2, 3), step=np.float32(3), note="text")
    weights = read_weights(_write(tmp_path, {"model": model, "__author__": "torchvision", "matching_heuristics": True}))
    assert weights["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert set(weights) == {"a", "step"}


def test_momentum_of_caffe2_is_left_out(tmp_path: Path) -> None:
    blobs = {"conv1_w": np.ones(1), "conv1_w_momentum": np.ones(1)}
    assert set(read_weights(_write(tmp_path, {"blobs": blobs}))) == {"conv1_w"}


def test_a_pickle_cannot_replace_what_its_dicts_can_do(tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(b"\x80\x03ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.")  # its .items = 1
    with pytest.raises(CheckpointError, match="not a readable pickle"):
        read_weights(path)


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickle_is_refused_with_the_name_of_what_it_wants(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "ran"
    path = _write(tmp_path, {"w": np.ones(2), "x": _Reduced(os.system, (f"touch {proof}",))}, protocol)
    with pytest.raises(CheckpointError, match=r"weights\.pkl: refused, because loading it would call posix\.system"):
        read_weights(path)
    assert not proof.exists()


def _forged_dtype() -> Any:
    """A dtype that calls object pointers plain bytes: building an array from it would read memory it does not own."""
    return _Reduced(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0))


def _array_of(dtype: Any, data: Any, shape: Any = (1,)) -> Any:
    return _Reduced(np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b"b"), (1, shape, dtype, False, data))


_F4 = np.dtype("f4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_array_of(_forged_dtype(), struct.pack("<Q", 0xDEADBEEF)), r"numpy\.dtype\('O8'\)"),
        (np.array([{}, []], dtype=object), r"numpy\.dtype\('O8'\)"),
        (np.zeros(1, dtype=[("a", "O")]), r"numpy\.dtype\('V8'\)"),
        (_Reduced(np.ndarray, ((1 << 40,), "f8")), r"numpy\.ndarray"),
        (_array_of(_F4, [1, 2]), "something else than a number type and bytes"),
        (_array_of(_F4, b"\0" * 4, (-1,)), r"shape \(-1,\)"),
        (_array_of(_F4, b"\0" * 4, (1 << 40,)), "does not hold together"),
        (_array_of(_F4, b"\0" * 3), "does not hold together"),
        (_Reduced(np.zeros(1).__reduce__()[0], (np.dtype, (0,), b"b")), "another type than ndarray"),
        (_Reduced(np.dtype, ("f4",), (3, "<", ("f4", (2,)), None, None, -1, -1, 0)), "structured type"),
        (_Reduced(np.load, ("/etc/passwd",)), r"numpy\.load"),
        (_Reduced(np.fromfile, ("/etc/passwd",)), r"numpy\.fromfile"),
        (_Reduced(__import__("_codecs").encode, ("x", "zlib")), "_codecs.encode to 'zlib'"),
    ],
)
def test_numpys_own_hooks_are_not_trusted_with_anything_but_numbers(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_weights(_write(tmp_path, {"w": content}))


def test_pickle_cannot_tamper_with_what_it_may_call(tmp_path: Path) -> None:
    # GLOBAL numpy dtype, then BUILD with a state for its attributes: (None, {"_function": ...}) is a slot state.
    tamper = b"\x80\x02cnumpy\ndtype\n(N}U\x09_functionU\x01xstb."
    (tmp_path / "weights.pkl").write_bytes(tamper)
    with pytest.raises(CheckpointError, match="__setstate__ of a function"):
        read_weights(tmp_path / "weights.pkl")
    assert read_weights(_write(tmp_path, {"w": np.ones(1)}))["w"].item() == 1


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_an_error_message_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "weights.pkl"
    path.write_bytes(junk)
    with pytest.raises(CheckpointError, match=r"weights\.pkl"):
        read_weights(path)


def test_hostile_torch_file_is_refused_with_the_name_of_what_it_wants(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    torch.save({"model": {"w": torch.ones(1)}, "x": _Reduced(os.system, (f"touch {proof}",))}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth: refused, because loading it would call posix\.system"):
        read_weights(tmp_path / "w.pth")
    assert not proof.exists()


def test_torch_training_state_gives_its_model(tmp_path: Path) -> None:
    torch.save({"model": {"module.w": torch.ones(1)}, "iteration": 5}, tmp_path / "w.pth")
    assert set(read_weights(tmp_path / "w.pth")) == {"w"}


@pytest.mark.parametrize("name", ["w.pth", "w.pkl", "w.safetensors"])
def test_truncated_or_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read_weights(tmp_path / name)
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match=name):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_torch_files_never_raise_anything_else(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    torch.save({"model": {"w": torch.ones(2, 3)}}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    cut = [whole[:length] for length in range(0, len(whole), 17)]
    flips = range(0, min(len(whole), 500), 2)
    flipped = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in flips]
    refusals = []
    for damaged in cut + flipped:
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except CheckpointError as error:
            refusals.append(str(error))
    assert len(refusals) >= len(cut)
    assert all("w.pth" in refusal for refusal in refusals)
