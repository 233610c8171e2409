"""Tasks shared by several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import active_children
from multiprocessing.process import BaseProcess

import pytest

from panoptic_blend.errors import ResourceError
from panoptic_blend.processes import in_processes


def _square(number: int) -> int:
    return number * number


def _die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("at_once", [1, 4])
def test_results_come_in_the_order_of_the_tasks(workers, at_once) -> None:
    assert list(in_processes(_square, range(11), workers, at_once)) == [number**2 for number in range(11)]
    assert list(in_processes(_square, [], workers, at_once)) == []


def test_a_killed_process_is_told_in_a_sentence() -> None:
    with pytest.raises(ResourceError, match="ended from outside"):
        list(in_processes(_die, range(8), 2, at_once=1))


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_processes_end_when_who_gives_them_work_is_killed() -> None:
    # Their standard output is closed when the last of them is gone.
    program = "from tests.test_processes import _wait, in_processes\nlist(in_processes(_wait, range(100), 2, 1))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.kill()
        try:
            process.communicate(timeout=30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert first == b"at work\n"


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_ctrl_c_ends_the_tasks_that_run_and_a_second_one_nothing_more() -> None:
    program = "from tests.test_processes import _wait_long, in_processes\nlist(in_processes(_wait_long, range(100), 2))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          start_new_session=True) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"at work\n"
        try:
            for _ in range(2):
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.2)
            said, errors = process.communicate(timeout=30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGINT, errors
    assert said.count(b"at work") <= 3  # one that the other process has begun, or each one more at the same moment


def _wait_long(number: int) -> None:
    sys.stdout.write("at work\n")
    sys.stdout.flush()
    time.sleep(1)


def _wait(number: int) -> None:
    sys.stdout.write("at work\n")
    sys.stdout.flush()
    time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_processes_start_ends_them_all(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # One is there, the next is not: what waits for them has not begun.
    def end(number: int, frame: object) -> None:
        raise TimeoutError

    start = ProcessPoolExecutor._spawn_process
    others = set(active_children())  # of other tests
    started: set[BaseProcess] = set()

    def signalled_start(self: ProcessPoolExecutor) -> None:
        start(self)
        started.update(set(active_children()) - others)
        signal.raise_signal(number)

    monkeypatch.setattr(ProcessPoolExecutor, "_spawn_process", signalled_start)
    before = signal.signal(number, end)
    try:
        with pytest.raises(TimeoutError):
            list(in_processes(_square, range(100), 2))
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert started
    assert not any(process.is_alive() for process in started)
