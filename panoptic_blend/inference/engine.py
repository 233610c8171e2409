"""What computes behind a `Predictor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from panoptic_blend.categories import Categories
from panoptic_blend.config import PredictionSettings
from panoptic_blend.files.images import Bands
from panoptic_blend.structures import PanopticMap


class Engine(Protocol):
    """What computes: a `TorchModel`, a `TiledModel`, an `AugmentedModel` or an `ExportedModel`.

    Attributes:
        has_detections: predictions are `PanopticPrediction`s, which have every detection and its mask.
    """

    has_detections: bool

    @property
    def categories(self) -> Categories:
        """Of the data set that it predicts."""

    @property
    def settings(self) -> PredictionSettings:
        """Sizes and thresholds, read at every prediction."""

    @property
    def channels(self) -> int:
        """Bands of an image."""

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the network sees an image of this size."""

    def predict(self, images: Sequence[Bands]) -> Sequence[PanopticMap]:
        """Predict images of one `input_size`, [H, W, channels] of 8 or 16 bits, at their own sizes."""

    def made_with(self) -> dict[str, object]:
        """What predictions depend on beside the images, as JSON can hold it."""

    def release_memory(self) -> None:
        """Give back what is held for the next prediction: one did not fit into memory."""
