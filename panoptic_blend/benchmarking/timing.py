"""A clock that waits for the device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch


@dataclass
class Clock:
    """Seconds of every measurement, by name.

    Attributes:
        device: whose work is waited for.
        seconds: in the order of measuring.
    """

    device: torch.device
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time the statements inside."""
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Timing:
    """Of one stage, in milliseconds.

    Attributes:
        median: half of the measurements were faster.
        spread: between the quartiles.
    """

    median: float
    spread: float

    @staticmethod
    def of(seconds: list[float]) -> Timing:
        """Summarise measurements."""
        ordered = sorted(seconds)
        quarter = len(ordered) // 4
        return Timing(1000 * statistics.median(ordered), 1000 * (ordered[-1 - quarter] - ordered[quarter]))
