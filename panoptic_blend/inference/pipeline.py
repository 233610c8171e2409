"""Reading, computing and writing at the same time, with only a few items in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from panoptic_blend.errors import ConfigError, DatasetError

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Result], depth: int = 2
) -> Iterator[tuple[Item, Future[Result]]]:
    """Pair each item with the future result of reading it, which a background thread starts `depth` items early."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read_ahead") as thread:
        try:
            for item in items:
                waiting.append((item, thread.submit(read, item)))
                if len(waiting) > depth:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, future in waiting:
                future.cancel()


def write_behind(items: Iterable[Item], write: Callable[[Item], None], depth: int = 2) -> int:
    """Write every item, in order, in a background thread while the next ones are made.

    Args:
        items: made in this thread.
        write: takes one item; what it raises is raised here at the next item, and ends it all.
        depth: items that may wait for their turn or be in writing.

    Returns:
        How many were written; nothing is waiting any more.
    """
    written = 0
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="write_behind") as thread:
        try:
            for item in items:
                while waiting and (len(waiting) >= depth or waiting[0].done()):
                    waiting.popleft().result()
                waiting.append(thread.submit(write, item))
                written += 1
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()  # an error or Ctrl-C; leaving the block waits for the one in writing
    return written


def in_batches(items: Iterable[Item], most: int, key: Callable[[Item], object]) -> Iterator[list[Item]]:
    """Neighbours of the same key, up to `most` together.

    When an item cannot be had because of a `DatasetError`, those before it come first and then the error.

    Raises:
        ConfigError: `most` is below 1.
    """
    if most < 1:
        raise ConfigError(f"batch {most}: predict 1 image or more at a time.")
    batch: list[Item] = []
    try:
        for item in items:
            if batch and key(item) != key(batch[0]):
                yield batch
                batch = []
            batch.append(item)
            if len(batch) == most:
                yield batch
                batch = []
    except DatasetError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
