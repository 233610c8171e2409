"""Fixtures every test may use."""

from __future__ import annotations

import os
import signal
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# The same cases on every machine and day; `make fuzz` draws new ones.
settings.register_profile("fixed", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# One thread a process, set before torch is loaded: tests run side by side, and another number of threads adds up in
# another order. Processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell's background jobs ignore Ctrl-C and nohup's ignore SIGHUP, and so would all processes that tests start.
if threading.current_thread() is threading.main_thread():
    for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(_number) is signal.SIG_IGN:
            signal.signal(_number, _handler)

from panoptic_blend.synthetic.shapes import generate_shapes  # noqa: E402  # after the number of threads is set

SHARED = Path(__file__).resolve().parents[2] / "shared"


_TESTS = Path(__file__).resolve().parent
_EXPORTED = (
    _TESTS / "exporting",
    _TESTS / "runtime",
    _TESTS / "benchmarks" / "test_runtimes.py",
    _TESTS / "benchmarking" / "test_exported.py",
    _TESTS / "inference" / "test_exported.py",
    _TESTS / "serving" / "test_exported.py",
)
"""Tests that cannot even be imported without the extra `onnx`, which needs a newer torch than the package itself."""

_without_onnx = find_spec("onnx") is None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what needs an extra that is not installed; None leaves the decision to others."""
    return True if _without_onnx and collection_path in _EXPORTED else None


_PROCESS = os.getpid()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """End a forked process that an exception brought out of its test: it would run the tests that follow once more."""
    if os.getpid() != _PROCESS:
        os.write(2, f"{item.nodeid}: a forked process left the test: {call.excinfo}\n".encode())
        os._exit(1)


def pytest_report_header() -> list[str]:
    """Say what is left out."""
    left_out = ", ".join(str(path.relative_to(_TESTS.parent)) for path in _EXPORTED)
    return [f"left out, since onnx is not installed: {left_out}"] if _without_onnx else []


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real images and recordings kept beside the project; absent on most machines."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference data in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated data set in the layout of `DataConfig`'s defaults: 6 training and 3 validation images."""
    return generate_shapes(tmp_path_factory.mktemp("shapes"), train=6, val=3)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another small shapes data set, to be read only."""
    return generate_shapes(tmp_path_factory.mktemp("shapes"), train=7, val=3, seed=5)
