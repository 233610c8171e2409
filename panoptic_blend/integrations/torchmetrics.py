"""Panoptic quality as a metric of torchmetrics (which Lightning brings along), added up over processes and logged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality as Counts
from panoptic_blend.evaluation.pq_result import PQResult


class PanopticQuality(Metric):
    """`panoptic_blend.metrics.PanopticQuality` inside torchmetrics.

    Its states are sums, so that any number of processes together give what one would: each image must go to one of
    them only (Lightning's `DistributedSampler` repeats some to make shares equal).
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, categories: Categories, **kwargs: Any):
        """kwargs: what every torchmetrics metric takes, for instance `dist_sync_on_step`."""
        super().__init__(**kwargs)
        self.categories = categories
        self._names = tuple(Counts(categories).state())
        for name, values in Counts(categories).state().items():
            self.add_state(name, torch.from_numpy(values), dist_reduce_fx="sum")

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: what `panoptic_blend.metrics.PanopticQuality.update` raises.
        """
        counts = Counts(self.categories)
        counts.update(pair)
        for name, values in counts.state().items():
            setattr(self, name, getattr(self, name) + torch.from_numpy(values).to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """Panoptic quality in 0..1 by the names of metrics.json: `PQ SQ RQ PQ_th SQ_th RQ_th PQ_st SQ_st RQ_st`."""
        result = self.result()
        groups = {"": result.all, "_th": result.things, "_st": result.stuff}
        return {
            f"{name.upper()}{suffix}": torch.tensor(getattr(group, name), device=self.device)
            for suffix, group in groups.items()
            for name in ("pq", "sq", "rq")
        }

    def result(self) -> PQResult:
        """Everything there is to know of the images this process has counted (of all, while synchronised)."""
        counts = Counts(self.categories)
        counts.load_state({name: getattr(self, name).cpu().numpy() for name in self._names})
        return counts.compute()
