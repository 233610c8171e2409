from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.inference.pipeline import in_batches, read_ahead, write_behind

SOON = 30
"""Seconds after which something that should happen is taken not to."""


def test_reading_ahead_reads_few_items_and_keeps_their_order():
    begun: list[int] = []

    def read(item: int) -> int:
        begun.append(item)
        return item * item

    seen = []
    for item, result in read_ahead(range(20), read, depth=3):
        seen.append((item, result.result()))
        assert len(begun) <= item + 5
    assert seen == [(i, i * i) for i in range(20)]


def test_what_is_not_yet_read_is_dropped_when_nobody_wants_it():
    begun, go_on = threading.Event(), threading.Event()
    read: list[int] = []

    def slow(item: int) -> int:
        if item == 1:
            begun.set()
            assert go_on.wait(SOON)
        read.append(item)
        return item

    reading = read_ahead(range(20), slow, depth=5)
    assert next(reading)[1].result() == 0
    assert begun.wait(SOON)
    threading.Timer(0.05, go_on.set).start()
    reading.close()
    assert read == [0, 1]


def test_everything_is_written_in_order_when_writing_behind_returns():
    made_all = threading.Event()
    written: list[int] = []

    def make() -> Iterator[int]:
        yield from range(3)
        made_all.set()

    def write(item: int) -> None:
        assert made_all.wait(SOON)  # so that all of it is still to be written when the last item is there
        written.append(item)

    assert write_behind(make(), write, depth=3) == 3
    assert written == [0, 1, 2]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_no_more_than_depth_items_wait_to_be_written(depth: int):
    items = 40
    made = [threading.Event() for _ in range(items + depth)]
    finished: list[int] = []

    def make() -> Iterator[int]:
        for item in range(items):
            assert item - len(finished) <= depth  # besides this one
            made[item].set()
            yield item
        for event in made[items:]:
            event.set()

    def write(item: int) -> None:
        assert made[item + depth].wait(SOON)  # as slow as can be: so many do wait
        finished.append(item)

    assert write_behind(make(), write, depth) == items
    assert finished == list(range(items))


@pytest.mark.parametrize("last", [3, 100])
def test_an_error_in_writing_is_raised_at_the_next_item(last: int):
    error = OSError(28, "No space left on device")
    made: list[int] = []
    written: list[int] = []
    past_the_error = threading.Event()

    def make() -> Iterator[int]:
        for item in range(last + 1):
            made.append(item)
            yield item
            if item == 4:
                assert past_the_error.wait(SOON)

    def write(item: int) -> None:
        if item == 3:
            raise error
        if item == 4:
            past_the_error.set()
        written.append(item)

    with pytest.raises(OSError, match="No space left") as caught:
        write_behind(make(), write, depth=1000)
    assert caught.value is error
    assert written[:3] == [0, 1, 2]
    assert len(made) <= 6


def test_what_waits_is_dropped_when_making_fails_and_what_is_being_written_is_finished():
    begun, go_on = threading.Event(), threading.Event()
    finished: list[int] = []

    def make() -> Iterator[int]:
        yield 0
        yield 1
        assert begun.wait(SOON)
        threading.Timer(0.05, go_on.set).start()
        raise KeyboardInterrupt

    def write(item: int) -> None:
        begun.set()
        assert go_on.wait(SOON)
        finished.append(item)

    with pytest.raises(KeyboardInterrupt):
        write_behind(make(), write, depth=5)
    assert finished == [0]


def test_batches_are_neighbours_of_one_key():
    def batches(words: str, most: int) -> list[str]:
        return ["".join(batch) for batch in in_batches(words, most, str.lower)]

    assert batches("aAabBaccccCcc", 3) == ["aAa", "bB", "a", "ccc", "cCc", "c"]
    assert batches("aab", 1) == ["a", "a", "b"]
    assert batches("aaa", 3) == ["aaa"]
    assert batches("", 3) == []
    with pytest.raises(ConfigError, match="batch 0"):
        batches("aa", 0)


def test_a_full_batch_waits_for_no_further_item():
    def items() -> Iterator[str]:
        yield from "aa"
        raise AssertionError("asked for too early")

    assert next(in_batches(items(), 2, str)) == ["a", "a"]


def test_a_batch_cut_by_a_bad_item_comes_before_the_error():
    def items() -> Iterator[str]:
        yield from "aab"
        raise DatasetError("c is bad")

    batches = in_batches(items(), 3, str)
    assert [next(batches), next(batches)] == [["a", "a"], ["b"]]
    with pytest.raises(DatasetError, match="c is bad"):
        next(batches)
