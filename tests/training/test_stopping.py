from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from panoptic_blend.errors import TrainingStopped
from panoptic_blend.stop_signals import STOP_SIGNALS
from panoptic_blend.training import stopping
from panoptic_blend.training.stopping import StopRequest

CPU = torch.device("cpu")


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    request = StopRequest()
    request.listen()
    yield request
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_counts(stop: StopRequest, number: int) -> None:
    assert stop.agree(CPU) == 0
    signal.raise_signal(number)
    for other in STOP_SIGNALS:
        signal.raise_signal(other)
    assert stop.agree(CPU) == stop.agreed == number


def test_a_signal_that_comes_while_processes_agree_counts_at_the_next_step(
    stop: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_reduce(received: torch.Tensor, op: object) -> None:
        """As if other processes had received nothing."""
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)
    assert [stop.agree(CPU) for _ in range(3)] == [0, signal.SIGTERM, signal.SIGTERM]


def test_all_stop_for_what_another_process_received(stop: StopRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda received, op: received.fill_(signal.SIGTERM))
    assert stop.agree(CPU) == stop.agreed == signal.SIGTERM


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        StopRequest().listen()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for number, handler in ((signal.SIGHUP, before), (signal.SIGINT, signal.default_int_handler)):
            signal.signal(number, handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_second_signal_after_a_while_stops_at_once(stop: StopRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)  # too soon to be meant
    monkeypatch.setattr(stopping, "PATIENCE", 0.0)
    with pytest.raises(TrainingStopped, match="at once") as stopped:
        signal.raise_signal(signal.SIGINT)
    assert stopped.value.exit_code == 130


PRINTS_ON = """
import sys, time
from pathlib import Path
import torch
from panoptic_blend.training.stopping import StopRequest
stop = StopRequest()
stop.listen()
print("listening", flush=True)
while not stop.signal:
    time.sleep(0.01)
print("nobody reads this", flush=True)
Path(sys.argv[1]).write_text(str(stop.agree(torch.device("cpu"))))
"""


def test_a_run_whose_terminal_is_gone_can_still_print_and_save(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTS_ON, str(tmp_path / "signal")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    assert os.read(ours, 100).startswith(b"listening")
    os.close(ours)
    assert process.wait(30) == 0
    assert (tmp_path / "signal").read_text() == str(int(signal.SIGHUP))
