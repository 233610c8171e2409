"""Ctrl-C and `kill` as a request to stop at the next step, agreed on by all processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist


class StopRequest:
    """Remembers the first SIGINT or SIGTERM; further ones change nothing, so a state being saved is never cut short.

    Attributes:
        signal: the signal received, or 0.
    """

    def __init__(self) -> None:
        self.signal = 0

    def listen(self) -> None:
        """Take over both signals. Outside the main thread, where Python allows no handlers, nothing changes."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)
            signal.signal(signal.SIGTERM, self._note)

    def agree(self, device: torch.device) -> int:
        """The signal that any process received, or 0: the same answer in all of them. Every process must call it."""
        if dist.is_available() and dist.is_initialized():
            received = torch.tensor(self.signal, device=device)
            dist.all_reduce(received, op=dist.ReduceOp.MAX)
            self.signal = int(received.item())
        return self.signal

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number


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
