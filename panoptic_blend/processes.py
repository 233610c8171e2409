"""Many equal tasks, several at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from panoptic_blend.errors import ResourceError
from panoptic_blend.stop_signals import STOP_SIGNALS, signals_wait

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_processes(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int, at_once: int = 4
) -> Iterator[Result]:
    """The results of some tasks, in their order.

    Args:
        work: what is done with a task; it is sent to every process once, and must be picklable.
        tasks: small: all of them wait in memory.
        workers: processes; 1 works in this one.
        at_once: tasks that a process is given together.

    Raises:
        ResourceError: a process was ended from outside.
    """
    if min(workers, len(tasks)) <= 1:
        yield from map(work, tasks)
        return
    enough = multiprocessing.Event()
    executor = ProcessPoolExecutor(min(workers, len(tasks)), initializer=_begin, initargs=(work, enough))
    try:
        with signals_wait():  # half-started processes would be waited for in vain
            results = executor.map(_work_here, tasks, chunksize=at_once)
        yield from results
    except BrokenProcessPool as error:
        raise ResourceError(
            "A process was ended from outside, probably for lack of memory. Try --workers 1."
        ) from error
    finally:
        with signals_wait():  # a second Ctrl-C would leave processes that nobody ends
            enough.set()
            executor.shutdown(cancel_futures=True)


_here: list[tuple[Callable[[Any], Any], Event]] = []
"""The work of this process, and whether no more of it is wanted."""


def _begin(work: Callable[[Any], Any], enough: Event) -> None:
    # Ctrl-C reaches all processes of a command: the others finish their task, and the main one ends them.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    _here[:] = [(work, enough)]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """After a `kill -9` nobody gives this process work any more, nor tells it so."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work_here(task: Any) -> Any:
    work, enough = _here[0]
    return None if enough.is_set() else work(task)
