"""The torchmetrics metric against the plain one, in one process and in two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from panoptic_blend.evaluation.pq import PanopticQuality as Counts
from panoptic_blend.integrations.torchmetrics import PanopticQuality
from tests.evaluation.random_maps import CATEGORIES, random_pair

IMAGES = 9


def expected(images=range(IMAGES)):
    counts = Counts(CATEGORIES)
    for pair in pairs(images):
        counts.update(pair)
    result = counts.compute()
    groups = {"": result.all, "_th": result.things, "_st": result.stuff}
    return {f"{n.upper()}{suffix}": getattr(g, n) for suffix, g in groups.items() for n in ("pq", "sq", "rq")}


def pairs(images):
    everything = [random_pair(np.random.default_rng(i), i) for i in range(IMAGES)]
    return [everything[i] for i in images]


def as_numbers(values):
    return {name: value.item() for name, value in values.items()}


def test_equals_the_plain_metric_and_says_what_one_image_has():
    metric = PanopticQuality(CATEGORIES)
    for i, pair in enumerate(pairs(range(IMAGES))):
        assert as_numbers(metric(pair)) == pytest.approx(expected([i]))
    assert 0.1 < expected()["PQ"] < 0.9
    assert as_numbers(metric.compute()) == pytest.approx(expected())
    metric.reset()
    assert metric.result().all.n == 0


def in_one_of_two_processes(rank, rendezvous):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    metric = PanopticQuality(CATEGORIES)
    for pair in pairs(range(rank, IMAGES, 2)):
        metric.update(pair)
    assert as_numbers(metric.compute()) == pytest.approx(expected())  # of both
    assert metric.result().all.n > 0
    dist.destroy_process_group()


def test_two_processes_together_equal_one(tmp_path):
    # Forked, which saves both from importing torch.
    arguments = (str(tmp_path / "rendezvous"),)
    torch.multiprocessing.start_processes(in_one_of_two_processes, arguments, nprocs=2, start_method="fork")
