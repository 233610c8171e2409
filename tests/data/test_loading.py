from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from panoptic_blend.data.loading import Loader
from panoptic_blend.errors import ResourceError


@dataclass
class Sample:
    image: Tensor
    parts: list[Tensor]


class Samples(Dataset[Sample]):
    """Three samples; a loader process does something before it returns the second."""

    def __init__(self, before_second: Callable[[], object] = lambda: None):
        self.before_second = before_second

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            self.before_second()
        return Sample(torch.arange(12.0).view(3, 4)[1:] + index, [torch.zeros(0, 4), torch.full((2,), index)])


def assert_all_there(samples: list[Sample]) -> None:
    assert len(samples) == 3
    for index, (found, made) in enumerate(zip(samples, (Samples()[i] for i in range(3)), strict=True)):
        assert torch.equal(found.image, made.image), index
        assert found.parts[0].shape == (0, 4)
        assert found.parts[1].tolist() == [index, index]


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_and_batches_arrive_in_order(workers: int) -> None:
    assert_all_there(list(Loader(Samples(), workers)))
    assert_all_there([sample for batch in Loader(Samples(), workers, list, batch_size=2) for sample in batch])


def allow_no_shared_memory() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


@pytest.mark.timeout(60)  # of what was not handed over, the loader knows nothing and waits
def test_shared_memory_that_ran_out_is_named() -> None:
    with pytest.raises(ResourceError, match=r"shared memory, /dev/shm .*--shm-size=2g.*data\.workers: 0"):
        list(Loader(Samples(allow_no_shared_memory), 1))


def test_a_killed_process_is_named() -> None:
    with pytest.raises(ResourceError, match=r"^a loader process was killed.*worker.*Lower data\.workers.*--shm-size"):
        list(Loader(Samples(lambda: os.kill(os.getpid(), signal.SIGKILL)), 1))


@pytest.mark.parametrize("needed", ["panoptic_blend.data.loading.Lock", "os.fork"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of an iterator left half made
def test_processes_that_cannot_be_started_are_named(needed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_left() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(needed, nothing_left)
    with pytest.raises(ResourceError, match=r"cannot be started \(No space left .*\).*--shm-size.*data\.workers"):
        list(Loader(Samples(), 1))


def send_itself_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)


def test_processes_leave_stopping_to_the_main_one() -> None:
    assert_all_there(list(Loader(Samples(send_itself_signals), 1)))


UNFINISHED = """
import sys
from tests.data.test_loading import Loader, Samples
sys.kept = iter(Loader(Samples(), 2, persistent=True))
next(sys.kept)
"""


def test_a_program_ends_though_a_loader_is_not_at_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", UNFINISHED], timeout=60, check=True, stderr=subprocess.PIPE, text=True
    )
    assert done.stderr == ""
