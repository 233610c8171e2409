"""Workers on Ray that each hold something that is expensive to make, such as a model, and share out equal tasks.

Plain Ray actors, not Ray Data: its blocks carry rows through an object store, but here a task is a few file names, its
result a few words, and all that is large goes to the shared folder. What Ray Data would bring beside, restarted workers
and tried tasks, actors do themselves; pandas and Arrow, which it needs, would be for nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from panoptic_blend.errors import ConfigError, PanopticBlendError, ResourceError

Held = TypeVar("Held")
Task = TypeVar("Task")
Result = TypeVar("Result")

MORE_TRIES = 2
"""How often a task is given to a new worker when the one that had it died."""
_SECONDS_TO_ANSWER = 10


@dataclass(frozen=True)
class Cluster:
    """Where workers run, and how many.

    Attributes:
        workers: processes.
        threads: in which each computes, a core each.
        address: of a Ray cluster; None takes what RAY_ADDRESS names, and without it this machine.
        device: of the workers, as `Predictor`'s: 'auto' gives each a GPU when the cluster has any.
    """

    workers: int
    threads: int = 1
    address: str | None = None
    device: str = "cpu"


def import_ray() -> Any:
    """Ray, which nothing imports that is not asked for it.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError(
            "--engine ray needs Ray, which is not installed. Run `pip install 'panoptic-blend[ray]'`, on every machine."
        ) from error
    return ray


class Pool(Generic[Held]):
    """Workers that run until `pool` ends."""

    def __init__(self, ray: Any, actors: list[Any]):
        self._ray = ray
        self._actors = actors

    def spread(
        self,
        work: Callable[[Held, Task], Result],
        tasks: Iterable[Task],
        lost: Callable[[Task], Result] | None = None,
    ) -> Iterator[Result]:
        """The results of tasks, in their order; who has done one gets the next.

        When a worker dies, another takes its place and does the task again.

        Args:
            work: what a worker does with what it holds and a task; picklable.
            tasks: picklable; they are asked for one by one as workers are free.
            lost: stands for the result of a task that ended every worker that tried it.

        Raises:
            PanopticBlendError, OSError: what `work` raises.
            ResourceError: workers died at the same task again and again, without `lost`.
        """
        sent = self._ray.put(work)
        waiting = enumerate(tasks)
        free = list(self._actors)
        running: dict[Future[Any], tuple[int, Task, Any]] = {}
        done: dict[int, Result] = {}
        following = 0
        while True:
            while free and (numbered := next(waiting, None)) is not None:
                number, task = numbered
                actor = free.pop()
                running[actor.run.remote(sent, task).future()] = number, task, actor
            if not running:
                return
            # Not `ray.wait`, which makes something else of a signal's exception.
            for ready in wait(running, return_when=FIRST_COMPLETED).done:
                number, task, actor = running.pop(ready)
                free.append(actor)
                done[number] = self._result(ready, task, lost)
            while following in done:
                yield done.pop(following)
                following += 1

    def _result(self, ready: Future[Any], task: Task, lost: Callable[[Task], Result] | None) -> Result:
        died = self._ray.exceptions.RayActorError, self._ray.exceptions.OutOfMemoryError
        try:
            result, error = ready.result()
        except died as death:
            if getattr(death, "actor_init_failed", False):
                why = str(death).strip().splitlines()[-1]
                raise ResourceError(
                    f"A worker could not be started ({why}). All machines need the same versions of this program, "
                    "Python and Ray."
                ) from death
            if lost is None:
                raise ResourceError(
                    f"A worker was ended {MORE_TRIES + 1} times at the same task, probably for lack of memory. Try "
                    "fewer --workers."
                ) from death
            return lost(task)
        if error is not None:
            raise error
        return result


@contextmanager
def pool(cluster: Cluster, make: Callable[[], Held]) -> Iterator[Pool[Held]]:
    """Start workers, on Ray where it runs or else on a Ray of their own on this machine; end them with the block.

    Args:
        make: makes what a worker holds, when it gets its first task; picklable.

    Raises:
        ConfigError: Ray is not installed, there is no cluster at the address, or it is too small.
    """
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        with _own_signals():
            _start(ray, cluster)
    try:
        there = ray.cluster_resources()
        gpus = int(cluster.device.startswith("cuda") or (cluster.device == "auto" and there.get("GPU", 0) > 0))
        _check_size(there, cluster, gpus)
        worker = ray.remote(_Worker).options(
            num_cpus=cluster.threads, num_gpus=gpus, max_restarts=-1, max_task_retries=MORE_TRIES
        )
        actors = [worker.remote(make, cluster.threads) for _ in range(cluster.workers)]
        try:
            yield Pool(ray, actors)
        finally:
            for actor in actors:
                ray.kill(actor)
    finally:
        if started:
            ray.shutdown()


class _Worker:
    """Holds what was made, in a process of its own."""

    def __init__(self, make: Callable[[], Any], threads: int):
        os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported
        self._make = make
        self._held: Any = None

    def run(self, work: Callable[[Any, Any], Any], task: Any) -> tuple[Any, Exception | None]:
        """The result of a task, or what the person is to be told: Ray would wrap an error that is raised."""
        try:
            if self._held is None:
                self._held = self._make()
            return work(self._held, task), None
        except (PanopticBlendError, OSError) as error:
            return None, error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this program does at `kill`: Ray would end it at once, with a code of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _start(ray: Any, cluster: Cluster) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    if address is None:
        cores = cluster.workers * cluster.threads
        ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
        return
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--ray-address {address}: no Ray cluster answers there ({error}). Start one by `ray start --head`, or "
            "leave the address out to work on this machine alone."
        ) from error


def _knock(address: str) -> None:
    """Raise `OSError` or `ValueError` when nobody listens at HOST:PORT, for which Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:  # else it is a word such as "auto"
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()


def _check_size(resources: Mapping[str, float], cluster: Cluster, gpus: int) -> None:
    for name, wanted in (("CPUs", cluster.workers * cluster.threads), ("GPUs", cluster.workers * gpus)):
        there = int(resources.get(name.removesuffix("s"), 0))
        if there < wanted:
            raise ConfigError(
                f"--workers {cluster.workers} with --threads {cluster.threads} and --device {cluster.device}: that "
                f"takes {wanted} {name}, but the Ray cluster has {there}. Ask for less, or add machines."
            )
