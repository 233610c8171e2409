"""A clock that waits for the device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    import torch


@dataclass
class Clock:
    """Seconds of every measurement, by name.

    Attributes:
        device: a GPU whose work is waited for.
        seconds: in the order of measuring.
    """

    device: torch.device | None = None
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
        if self.device is not None and self.device.type == "cuda":
            import torch

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


def stage_table(milliseconds: Mapping[str, Mapping[str, float]], whole: str, section: str = "") -> Table:
    """Timings of stages, as `asdict` gives them, for a console.

    Args:
        milliseconds: by stage.
        whole: the stage whose median the shares are of.
        section: begins with this stage.
    """
    table = Table("stage", "median ms", "spread ms", "share")
    for name, timing in milliseconds.items():
        if name == section:
            table.add_section()
        share = timing["median"] / milliseconds[whole]["median"]
        table.add_row(name, f"{timing['median']:.1f}", f"{timing['spread']:.1f}", f"{share:.1%}")
    return table
