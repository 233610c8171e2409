"""Score image files in several processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.evaluation.metric import State

CHUNK = 32
"""Images a process scores before it reports."""


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def score_in_processes(
    score: Callable[[list[ImageRecord], list[ImageRecord]], State],
    truth: PanopticAnnotations,
    predictions: PanopticAnnotations,
    workers: int,
) -> Iterator[tuple[int, State]]:
    """Score chunk after chunk; chunks and their order, hence the sums, do not depend on `workers`."""
    chunks = [slice(start, min(start + CHUNK, len(truth))) for start in range(0, len(truth), CHUNK)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        for chunk in chunks:
            yield chunk.stop - chunk.start, score(truth[chunk], predictions[chunk])
        return
    executor = ProcessPoolExecutor(workers)
    try:
        running: deque[tuple[int, Future]] = deque()
        for chunk in chunks:
            running.append((chunk.stop - chunk.start, executor.submit(score, truth[chunk], predictions[chunk])))
            # A short queue: records become Python objects, so not all of them at once.
            if len(running) > 2 * workers:
                images, future = running.popleft()
                yield images, future.result()
        for images, future in running:
            yield images, future.result()
    finally:
        executor.shutdown(cancel_futures=True)
