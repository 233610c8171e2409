"""What every metric offers, so that one loop feeds them all and several processes share the work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.image_pair import ImagePair

State = Mapping[str, npt.NDArray]
"""Everything a metric has seen, as arrays of numbers or texts: for `numpy.savez`, or another process."""


class Metric(Protocol):
    """Counts images one by one, and can be put together from parts that were counted elsewhere."""

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: truth and prediction of the image do not hold together.
        """

    def merge(self, other: Any) -> None:
        """Add what a metric of the same kind and categories counted on other images."""

    def state(self) -> State:
        """Everything counted so far; a copy."""

    def load_state(self, state: State) -> None:
        """Go on from what `state` returned; what was counted before is forgotten."""

    def compute(self) -> Any:
        """The result: a frozen dataclass with `notes`, what a reader of its numbers must know. Changes nothing."""


class Sums:
    """The part that all metrics share whose state is nothing but sums over images: arrays by name."""

    def __init__(self, categories: Categories, **sums: npt.NDArray):
        self.categories = categories
        self._sums = sums

    def merge(self, other: Sums) -> None:
        """Add what another one counted on other images."""
        for name, values in self._sums.items():
            values += other._sums[name]

    def state(self) -> dict[str, npt.NDArray]:
        """Everything counted so far, by the names in the class's docstring; a copy."""
        return {name: values.copy() for name, values in self._sums.items()}

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned; sums of states of several processes are fine."""
        self._sums = {name: state[name].copy() for name in self._sums}


SomeMetric = TypeVar("SomeMetric", bound=Metric)


def merge_states(metric: SomeMetric, states: Iterable[State]) -> SomeMetric:
    """Add to `metric` what metrics of the same kind and categories counted elsewhere, in this order; returns it."""
    part = deepcopy(metric)
    for state in states:
        part.load_state(state)
        metric.merge(part)
    return metric
