"""How long models take for one image, measured side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from torch import Tensor

from panoptic_blend.inference.predictor import Predictor


def measure_latency(predictors: Mapping[str, Predictor], images: Sequence[Tensor], rounds: int = 5) -> dict[str, float]:
    """Median time from an image's pixels to its panoptic map, in milliseconds.

    The models take turns on every image, each round beginning with another one, so that whatever slows the machine
    down for a while slows all of them.

    Args:
        predictors: by name.
        images: uint8 RGB [3, H, W].
        rounds: how often each model sees each image.
    """
    names = list(predictors)
    for name in names:
        predictors[name](images[0])  # allocations, and whatever libraries do at first use
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for image in images:
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                start = time.perf_counter()
                predictors[name](image)  # ends on the host, hence waits for the device
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}
