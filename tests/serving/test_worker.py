"""The line before the model: in order, bounded, neighbours together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from panoptic_blend.errors import DatasetError
from panoptic_blend.serving.limits import Limits, Refusal
from panoptic_blend.serving.worker import Worker


class Slow:
    """Doubles numbers when it is let; odd ones are refused, and 13 ends the batch."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int | BaseException]:
        self.let.wait()
        self.batches.append(list(items))
        if 13 in items:
            raise RuntimeError("thirteen")
        return [DatasetError(f"{item} is odd") if item % 2 else 2 * item for item in items]


async def ask(worker: Worker, work: Slow, items: Sequence[tuple[str, int]]) -> list[object]:
    """All at once, in this order; the work begins when everybody waits."""
    asked = []
    for key, item in items:
        asked.append(asyncio.create_task(worker.run(key, work, item)))
        await asyncio.sleep(0.01)
    work.let.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    await worker.close()
    return answers


def test_neighbours_of_one_key_go_together():
    work = Slow()
    items = [("a", 0), ("a", 2), ("a", 4), ("a", 6), ("b", 8), ("a", 10)]
    answers = asyncio.run(ask(Worker(Limits(), batch=2), work, items))
    assert answers == [0, 4, 8, 12, 16, 20]
    assert work.batches == [[0], [2, 4], [6], [8], [10]]  # the first was taken before there was a second


def test_each_gets_its_own_error():
    answers = asyncio.run(ask(Worker(Limits(), batch=8), Slow(), [("b", 0), ("a", 1), ("a", 2), ("c", 13), ("d", 4)]))
    assert [str(each) for each in answers] == ["0", "1 is odd", "4", "thirteen", "8"]


def test_one_too_many_is_sent_away_and_told_when_to_come_back():
    answers = asyncio.run(ask(Worker(Limits(waiting=2)), Slow(), [("a", item) for item in (0, 2, 4, 6, 8)]))
    assert answers[:3] == [0, 4, 8]  # one at work, two waiting
    for refused in answers[3:]:
        assert isinstance(refused, Refusal)
        assert refused.status == 429
        assert refused.retry_after is not None
        assert refused.retry_after >= 1


def test_who_gives_up_is_not_computed_for():
    async def give_up() -> None:
        work, worker = Slow(), Worker(Limits(answer_seconds=0.1))
        with pytest.raises(Refusal, match="in time"):
            await asyncio.gather(worker.run("a", work, 0), worker.run("a", work, 2))
        work.let.set()
        await worker.close()
        assert work.batches == [[0]]

    asyncio.run(give_up())


def test_closing_finishes_what_waits():
    async def close() -> list[object]:
        work, worker = Slow(), Worker(Limits())
        asked = [asyncio.create_task(worker.run("a", work, item)) for item in (0, 2, 4)]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(worker.close())
        work.let.set()
        await closing
        return await asyncio.gather(*asked)

    assert asyncio.run(close()) == [0, 4, 8]
