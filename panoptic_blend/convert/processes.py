"""The images of a data set, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from panoptic_blend.errors import DatasetError

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(work: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """The results of some tasks, in their order.

    Args:
        work: what is done with a task; it is sent to every process once, and must be picklable.
        workers: processes; 1 works in this one.

    Raises:
        DatasetError: a process was ended from outside.
    """
    if min(workers, len(tasks)) <= 1:
        yield from map(work, tasks)
        return
    executor = ProcessPoolExecutor(min(workers, len(tasks)), initializer=_begin, initargs=(work,))
    try:
        yield from executor.map(_work_here, tasks, chunksize=4)
    except BrokenProcessPool as error:
        raise DatasetError(
            "A process of the conversion was ended from outside, probably for lack of memory. Try --workers 1."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


_here: list[Callable[[Any], Any]] = []
"""The work of this process."""


def _begin(work: Callable[[Any], Any]) -> None:
    _here[:] = [work]


def _work_here(task: Any) -> Any:
    return _here[0](task)
