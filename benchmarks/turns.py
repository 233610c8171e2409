"""Time several ways of doing one thing in turns, so that whatever slows the machine down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every way in every round, after one that does not count.

    Args:
        ways: by name; the first is what the others are compared with.
        rounds: measurements of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if turn > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def print_ratios(title: str, seconds: Mapping[str, list[float]]) -> None:
    """Medians, and how many times faster each way is than the first: of the medians, and the range over the rounds."""
    table = Table("", "median ms", "times faster", "in single rounds", title=title)
    first = next(iter(seconds.values()))
    for name, values in seconds.items():
        single = [base / value for base, value in zip(first, values, strict=True)]
        ratio = statistics.median(first) / statistics.median(values)
        table.add_row(
            name, f"{1000 * statistics.median(values):.1f}", f"{ratio:.2f}", f"{min(single):.2f} to {max(single):.2f}"
        )
    Console().print(table)
