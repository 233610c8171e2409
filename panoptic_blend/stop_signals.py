"""Signals that end a command: Ctrl-C, `kill`, and a terminal that closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Windows has no SIGHUP."""


@contextmanager
def signals_wait() -> Iterator[None]:
    """Obey signals that end a command when the block has ended, for what must not be left half done.

    Blocking them would not do, since another thread might be given them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python's handlers run in the main thread
        return
    noted: list[int] = []
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        if before[number] not in (None, signal.SIG_IGN):
            signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by a program in another language, of which Python is part
                signal.signal(number, handler)
        if noted:
            signal.raise_signal(noted[0])
