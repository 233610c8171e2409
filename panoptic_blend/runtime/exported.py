"""A model out of an exported folder, which predicts without torch."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.config import PREDICTION_SETTINGS, PredictionSettings
from panoptic_blend.config.plain import plain_settings
from panoptic_blend.errors import CheckpointError, ConfigError, DatasetError
from panoptic_blend.files.images import Bands, to_colors
from panoptic_blend.resizing import output_size
from panoptic_blend.runtime.interface import COLUMNS, IMAGE, OUTPUTS, THRESHOLDS
from panoptic_blend.runtime.manifest import Manifest, read_manifest
from panoptic_blend.runtime.model_files import EXPORT_AGAIN
from panoptic_blend.runtime.processor import processor_kind
from panoptic_blend.runtime.sessions import open_session
from panoptic_blend.structures import PanopticMap, Segment


class ExportedModel:
    """What `panoptic-blend export` wrote, opened in its runtime on the CPU.

    Args:
        folder: the exported one. It is data: no code out of it runs, and no file outside of it is read.
        threads: that compute; None leaves their number to the runtime.

    Raises:
        CheckpointError: the folder is damaged, foreign or not to be trusted, or its runtime is not installed.
    """

    has_detections = False
    """Its graph gives panoptic maps alone."""
    channels = 3
    """Bands of an image: others are not exported."""

    def __init__(self, folder: Path | str, threads: int | None = None):
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        self._session = open_session(self.manifest, self.folder, threads)
        self._settings = replace(self.manifest.settings)
        if self.manifest.cpu not in (None, processor_kind()):
            warnings.warn(
                f"{self.folder}: its PQ in int8 was measured on {self.manifest.cpu}; this is {processor_kind()}, which "
                "may add up differently. Measure it here: panoptic-blend evaluate.",
                stacklevel=2,
            )

    @property
    def categories(self) -> Categories:
        """Of the data set it predicts."""
        return self.manifest.categories

    @property
    def settings(self) -> PredictionSettings:
        """Sizes and thresholds. Those that the graph takes as inputs may be changed at any time, see `check`."""
        return self._settings

    def check(self) -> None:
        """Raise `ConfigError` when a setting is out of bounds, or changed though the graph does not take it."""
        self._settings.check()
        for name, field in PREDICTION_SETTINGS.items():
            wanted, made = getattr(self._settings, field), getattr(self.manifest.settings, field)
            if wanted != made and field not in self._session.inputs:
                takes = [each for each, field in PREDICTION_SETTINGS.items() if field in self._session.inputs]
                rest = f"; only {', '.join(takes)} can be changed" if takes else ""
                raise ConfigError(
                    f"{name} is {wanted}, but {self.folder} was exported with {made}, which is built into its graph"
                    f"{rest}. Leave it out, or predict with the checkpoint that was exported."
                )

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the network inside sees an image of this size."""
        return output_size(height, width, self.settings.shortest_edge, self.settings.longest_edge)

    def predict(self, images: Sequence[Bands]) -> list[PanopticMap]:
        """Predict images, one after the other.

        Args:
            images: RGB [H, W, 3]; of 16 bits the upper 8 count.

        Raises:
            ConfigError: as `check`.
            DatasetError: an image of another size than the one that the model was exported for.
            CheckpointError: the graph fails, or gives what is no panoptic map of its image.
        """
        self.check()
        return [self._predict(to_colors(image)) for image in images]

    def _predict(self, image: npt.NDArray[np.uint8]) -> PanopticMap:
        only = self._session.inputs[IMAGE].shape
        if any(side not in (None, given) for side, given in zip(only, image.shape, strict=True)):
            raise DatasetError(
                f"image {image.shape[1]} x {image.shape[0]}: {self.folder} was exported for images of {only[1]} x "
                f"{only[0]} alone. Scale it, or export the model without --size."
            )
        feeds: dict[str, npt.NDArray[Any]] = {IMAGE: np.ascontiguousarray(image)}
        for name, dtype in THRESHOLDS.items():
            if name in self._session.inputs:
                feeds[name] = np.array(getattr(self._settings, name), dtype)
        found = self._session.run(feeds)
        id_map, rows, scores = (found[name] for name in OUTPUTS)
        self._check_shapes(image, id_map, rows, scores)
        segments = []
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            segment_id, category_id, is_thing, area = row[:4]
            fits = segment_id > 0 and area > 0 and 0 <= score <= 1 and self.categories.has_id(category_id)
            if not fits or self.categories.by_id(category_id).is_thing != bool(is_thing):
                shown = ", ".join(f"{name} {value}" for name, value in zip(COLUMNS, row, strict=True))
                raise CheckpointError(
                    f"{self.folder}: its graph gave a segment that cannot be ({shown}, score {score:.3g}). "
                    f"{EXPORT_AGAIN}"
                )
            segments.append(Segment(segment_id, category_id, bool(is_thing), score, area))
        return PanopticMap(id_map, segments)

    def _check_shapes(self, image: Any, id_map: Any, rows: Any, scores: Any) -> None:
        if id_map.shape != image.shape[:2] or rows.shape != (len(scores), len(COLUMNS)):
            raise CheckpointError(
                f"{self.folder}: of an image {list(image.shape)} its graph gave id_map {list(id_map.shape)}, segments "
                f"{list(rows.shape)} and scores {list(scores.shape)}; expected [H, W], [N, {len(COLUMNS)}] and [N]. "
                f"{EXPORT_AGAIN}"
            )

    def made_with(self) -> dict[str, object]:
        """What predictions depend on beside the images, as JSON can hold it."""
        hashes = sorted(file.sha256 for file in self.manifest.files.values())  # checked when they were opened
        return {
            "device": "cpu",
            "runtime": self.manifest.runtime,
            "precision": self.manifest.precision,
            "model": plain_settings(self._settings.within(self.manifest.config)),
            "weights": hashlib.sha256("".join(hashes).encode()).hexdigest(),
        }

    def release_memory(self) -> None:
        """Nothing is held between predictions."""
