"""Score predictions on many workers: the same numbers, since images are counted in the same chunks and order."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial

from panoptic_blend.distributed.pool import Cluster, pool
from panoptic_blend.evaluation.metric import Metric, SomeMetric, State
from panoptic_blend.evaluation.scored_files import ScoredFiles, add_up, chunks_of, count_chunk


def count_on_ray(
    cluster: Cluster,
    metric: SomeMetric,
    files: ScoredFiles,
    progress: Callable[[int, int], None] | None = None,
) -> SomeMetric:
    """Add all images to a metric that has counted none, as `count` does; returns it.

    Workers are sent the rows of their images, and read the PNGs: all machines must see these under the same paths.

    Args:
        progress: called with (images done, images in all).

    Raises:
        ConfigError: no Ray, or no such cluster.
        DatasetError: what `ScoredFiles.read` and the metric raise.
        ResourceError: workers died at the same images again and again.
    """
    chunks = chunks_of(files)
    with pool(cluster, partial(deepcopy, deepcopy(metric))) as workers:
        return add_up(metric, chunks, workers.spread(_count_part, map(files.only, chunks)), progress)


def _count_part(empty: Metric, part: ScoredFiles) -> State:
    return count_chunk(empty, part, range(len(part.truth)))
