"""One thread that computes, and the bounded line of those who wait for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from panoptic_blend.serving.limits import Limits, Refusal

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], "Sequence[Result | BaseException]"]
"""Computes several items of one key at once: for each its result, or why there is none."""


@dataclass(frozen=True, eq=False)
class _Job:
    key: Hashable
    work: Work[Any, Any]
    item: Any
    answer: asyncio.Future[Any]


class Worker:
    """Runs work in its own thread, in the order in which it came, neighbours of one key together.

    Belongs to one event loop.

    Args:
        limits: how many may wait, and how long for.
        batch: neighbours of one key that are computed at once, at most.
    """

    def __init__(self, limits: Limits, batch: int = 1):
        self.limits = limits
        self.batch = batch
        self.seconds_each = 1.0
        self._waiting: deque[_Job] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._running: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests whose turn has not come."""
        return len(self._waiting)

    async def run(self, key: Hashable, work: Work[Item, Result], item: Item) -> Result:
        """What `work` makes of an item; it may be given neighbours of the same key as well.

        Raises:
            Refusal: too many wait already, or the turn does not come in time.
        """
        if len(self._waiting) >= self.limits.waiting:
            later = min(60, max(1, math.ceil(len(self._waiting) * self.seconds_each)))
            raise Refusal(429, f"The server is busy. Try again in {later} seconds.", retry_after=later)
        job = _Job(key, work, item, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._work())
        try:
            result: Result = await asyncio.wait_for(job.answer, self.limits.answer_seconds)
        except asyncio.TimeoutError:
            raise Refusal(503, "The server did not get to it in time. Try again later.", retry_after=60) from None
        return result

    async def close(self) -> None:
        """Finish what waits, then end the thread."""
        if self._running is not None:
            await self._running
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while jobs := self._next():
            started = time.perf_counter()
            computed = loop.run_in_executor(self._thread, jobs[0].work, [job.item for job in jobs])
            outcome: Any
            (outcome,) = await asyncio.gather(computed, return_exceptions=True)
            took = (time.perf_counter() - started) / len(jobs)
            self.seconds_each += 0.2 * (took - self.seconds_each)
            each = [outcome] * len(jobs) if isinstance(outcome, BaseException) else outcome
            for job, result in zip(jobs, each, strict=True):
                if job.answer.done():
                    continue  # nobody waits for it any more
                if isinstance(result, BaseException):
                    job.answer.set_exception(result)
                else:
                    job.answer.set_result(result)

    def _next(self) -> list[_Job]:
        jobs: list[_Job] = []
        while self._waiting and len(jobs) < self.batch and (not jobs or self._waiting[0].key == jobs[0].key):
            job = self._waiting.popleft()
            if not job.answer.done():
                jobs.append(job)
        return jobs
