"""Tasks shared by several processes."""

from __future__ import annotations

import os
import signal

import pytest

from panoptic_blend.errors import ResourceError
from panoptic_blend.processes import in_processes


def _square(number: int) -> int:
    return number * number


def _die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("at_once", [1, 4])
def test_results_come_in_the_order_of_the_tasks(workers, at_once):
    assert list(in_processes(_square, range(11), workers, at_once)) == [number**2 for number in range(11)]
    assert list(in_processes(_square, [], workers, at_once)) == []


def test_a_killed_process_is_told_in_a_sentence():
    with pytest.raises(ResourceError, match="ended from outside"):
        list(in_processes(_die, range(8), 2, at_once=1))
