"""Signals that wait for the end of a block."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from panoptic_blend.stop_signals import STOP_SIGNALS, signals_wait


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_obeyed_when_the_block_has_ended(number: signal.Signals) -> None:
    done = []

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(number, stop)
    try:
        with pytest.raises(TimeoutError), signals_wait():  # noqa: PT012
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("all")
        assert done == ["all"]
        with signals_wait():
            pass
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_ignored_signals_stay_ignored_and_other_threads_have_none() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signals_wait():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            signal.raise_signal(signal.SIGTERM)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: signals_wait().__enter__()).result()
    finally:
        signal.signal(signal.SIGTERM, before)
