"""Loader processes whose failures arrive as a sentence, and that are never waited for in vain."""

from __future__ import annotations

import atexit
import io
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import Lock, active_children
from multiprocessing.process import BaseProcess
from typing import Any, Protocol
from weakref import WeakSet

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from panoptic_blend.errors import DatasetError, ResourceError
from panoptic_blend.stop_signals import STOP_SIGNALS

_REMEDY = (
    "Give the container more shared memory (docker run --shm-size=2g), or lower data.workers: 0 loads in the main "
    "process and needs none."
)


_loaders: WeakSet[BaseProcess] = WeakSet()


class Samples(Protocol):
    """What a loader takes: samples by their keys."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, key: Any) -> Any:
        """One of them; `DatasetError` when it cannot be used."""


class Loader(DataLoader[Any]):
    """PyTorch's loader, which raises what went wrong in its processes as one sentence.

    Args:
        dataset: of the samples.
        workers: loader processes; 0 loads in this one.
        collate: makes a batch of a list of samples.
        batch_size: samples of a batch; None, the default, passes single samples on as they are.
        sampler: keys of the samples, in order; by default all of them.
        pin_memory: page-locked batches, for copies to a GPU.
        persistent: keep the processes for the next time.
    """

    def __init__(
        self,
        dataset: Samples,
        workers: int,
        collate: Callable[[list[Any]], Any] | None = None,
        batch_size: int | None = None,
        sampler: Iterable[Any] | None = None,
        pin_memory: bool = False,
        persistent: bool = False,
    ):
        super().__init__(
            _ErrorsAsSamples(dataset),
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=_HandOver(collate),
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=persistent and workers > 0,
            worker_init_fn=ignore_stop_signals,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Batches or samples.

        Raises:
            DatasetError: a sample cannot be used.
            ResourceError: a process cannot be started, was killed, or lacks shared memory.
        """
        others = set(active_children())
        try:
            if self.num_workers:
                Lock()  # needs shared memory too; PyTorch's iterator, left half made, would complain a second time
            items = super().__iter__()
        except OSError as error:
            raise ResourceError(f"loader processes cannot be started ({error.strerror}). {_REMEDY}") from error
        _loaders.update(set(active_children()) - others)
        with killed_loaders_told():
            for item in items:
                if isinstance(item, (DatasetError, ResourceError)):
                    raise item
                yield item


@contextmanager
def killed_loaders_told() -> Iterator[None]:
    """Say what to do when a loader process was killed. PyTorch raises that at any point of the main process."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        what = str(error).splitlines()[0].strip().rstrip(".")
        raise ResourceError(
            f"a loader process was killed, which happens when memory runs out ({what}). Lower data.workers or the size "
            f"of the images. Or is it shared memory? {_REMEDY}"
        ) from error


@atexit.register
def _end_loaders() -> None:
    """Python would ask those that are left to stop by SIGTERM, which they ignore, and wait for them for ever."""
    left = [process for process in _loaders if process.is_alive()]
    if left and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would raise
    for process in left:
        process.kill()


def ignore_stop_signals(worker: int) -> None:
    """Leave stopping to the main process: Ctrl-C and `kill` of a process group reach loader processes too."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class _ErrorsAsSamples(Dataset[Any]):
    """Returns what a data set would raise: of what its processes raise, a loader makes tracebacks."""

    def __init__(self, dataset: Samples):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: object) -> object:
        try:
            return self.dataset[key]
        except DatasetError as error:
            return error


class _HandOver:
    """Makes a batch and, in a loader process, moves it to shared memory.

    PyTorch does so only when it sends the batch, in a thread whose errors nobody sees: where shared memory is full, as
    in a container with Docker's 64 MiB, the main process would wait for the batch for ever.
    """

    def __init__(self, collate: Callable[[list[Any]], Any] | None):
        self.collate = collate

    def __call__(self, fetched: Any) -> Any:
        for sample in fetched if isinstance(fetched, list) else [fetched]:
            if isinstance(sample, DatasetError):
                return sample
        batch = self.collate(fetched) if self.collate else fetched
        if get_worker_info() is not None:
            try:
                _ShareTensors(io.BytesIO()).dump(batch)
            except RuntimeError as error:
                return ResourceError(f"loader processes ran out of shared memory, /dev/shm ({error}). {_REMEDY}")
        return batch


class _ShareTensors(pickle.Pickler):
    """Visits all that an object holds; tensors are moved to shared memory, in place."""

    def persistent_id(self, obj: Any) -> str | None:
        """Names tensors, whose content then need not be written."""
        if not isinstance(obj, Tensor):
            return None
        obj.share_memory_()
        return "shared"
