"""Settings that may change from one prediction to the next, since no weight depends on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from panoptic_blend.config.model import FCOSConfig, InputConfig, MergeConfig, ModelConfig

PREDICTION_SECTIONS: dict[str, type[InputConfig] | type[FCOSConfig] | type[MergeConfig]] = {
    "input": InputConfig,
    "fcos": FCOSConfig,
    "merge": MergeConfig,
}
"""Sections of the model's settings that have some of them."""


@dataclass
class PredictionSettings:
    """Sizes and thresholds of prediction. A model reads them at every call, so that changing one takes effect at once.

    Each is the setting of that name in one of the model's sections: `min_score` is `model.merge.min_score`.

    Args:
        shortest_edge: images are resized so that their shortest edge has this many pixels, limited so that the longest
            has at most `longest_edge`.
        longest_edge: see `shortest_edge`.
        score_threshold: detections below are dropped before suppression.
        threshold_with_centerness: compare class score x centerness with the threshold, not the class score alone.
        pre_nms_top_k: candidates per level that enter suppression.
        nms_iou: same-class boxes that overlap more than this are suppressed.
        max_detections: instances kept per image; for more than `pre_nms_top_k`, raise both.
        min_score: instances below are not merged.
        max_overlap: an instance is not merged when more of it than this share is already taken.
        min_stuff_area: stuff smaller than this many pixels of the output becomes void.
    """

    shortest_edge: int
    longest_edge: int
    score_threshold: float
    threshold_with_centerness: bool
    pre_nms_top_k: int
    nms_iou: float
    max_detections: int
    min_score: float
    max_overlap: float
    min_stuff_area: int

    @classmethod
    def of(cls, config: ModelConfig) -> PredictionSettings:
        """The settings a model's configuration has."""
        sections = {section: getattr(config, section) for section in PREDICTION_SECTIONS}
        return cls(**{name: getattr(sections[section], name) for name, section in _PLACES.items()})

    def within(self, config: ModelConfig) -> ModelConfig:
        """A copy of a model's configuration that has these settings.

        Raises:
            ConfigError: a setting is out of bounds.
        """
        return replace(
            config, **{name: replace(getattr(config, name), **values) for name, values in self._by_section().items()}
        )

    def check(self) -> None:
        """Raise `ConfigError` when a setting is out of bounds."""
        for section, values in self._by_section().items():
            PREDICTION_SECTIONS[section](**values)

    def _by_section(self) -> dict[str, dict[str, Any]]:
        sections: dict[str, dict[str, Any]] = {section: {} for section in PREDICTION_SECTIONS}
        for name, value in asdict(self).items():
            sections[_PLACES[name]][name] = value
        return sections


_PLACES = {
    name: next(section for section, kind in PREDICTION_SECTIONS.items() if hasattr(kind(), name))
    for name in PredictionSettings.__dataclass_fields__
}
"""Setting -> the model's section it stands in."""

PREDICTION_SETTINGS = {f"model.{section}.{name}": name for name, section in _PLACES.items()}
"""Dotted name, as in files and on the command line -> field of `PredictionSettings`."""
