"""Ctrl-C, `kill` and a lost terminal as a request to stop at the next step, agreed on by all processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist

from panoptic_blend.errors import TrainingStopped
from panoptic_blend.stop_signals import STOP_SIGNALS

PATIENCE = 10.0
"""Seconds after which a second signal no longer waits for the step to end."""


class StopRequest:
    """Remembers the first signal that asks to stop, and lets the step that is running come to its end.

    Further signals change nothing for `PATIENCE` seconds: launchers send several, and a state being saved should not be
    cut short. One that comes later is meant: the step does not end, and `TrainingStopped` is raised where it is.

    Attributes:
        signal: the first signal that this process received, or 0.
        agreed: the signal that all processes stop for, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.agreed = 0
        self._since = 0.0

    def listen(self) -> None:
        """Take over the signals. Outside the main thread, where Python allows no handlers, nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOP_SIGNALS:
            # `nohup` lets a command ignore the loss of its terminal. An ignored Ctrl-C means nothing: a shell's
            # background jobs begin with it.
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def agree(self, device: torch.device) -> int:
        """The signal that any process received, or 0: the same answer in all of them. Every process must call it.

        A signal that comes while processes exchange theirs counts at the next call.
        """
        received = torch.tensor(self.signal, device=device)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(received, op=dist.ReduceOp.MAX)
        self.agreed = int(received.item())
        return self.agreed

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number not in (signal.SIGINT, signal.SIGTERM):
            _let_go_of_lost_terminal()
        if not self.signal:
            self.signal, self._since = number, time.monotonic()
        elif time.monotonic() - self._since >= PATIENCE:
            raise TrainingStopped("stopped at once, in the middle of a step.", number)


def _let_go_of_lost_terminal() -> None:
    """Send what is printed from now on nowhere: printing to a terminal that is gone would end the run unsaved."""
    for output in (1, 2):
        try:
            os.write(output, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)


@contextmanager
def plain_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C before a `StopRequest` listens, when there is nothing to save, end training as it ends anything else.

    Lightning turns it into an exit with code 1 and goes on ignoring the signal.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as done:
        if not isinstance(done.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None
