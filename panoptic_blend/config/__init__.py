"""Every setting, documented and bounded once. YAML files, `--dotted.overrides` and `--help` all come from here.

Only the builder (`modeling.build`) and the command line read these classes;
modules take explicit arguments.
"""

from __future__ import annotations

from panoptic_blend.config.backbone import BackboneConfig
from panoptic_blend.config.masks import (
    BlenderConfig,
    CenterMaskPointConfig,
    CondInstConfig,
    MasksConfig,
    SAGConfig,
)
from panoptic_blend.config.model import (
    BasesConfig,
    FCOSConfig,
    FPNConfig,
    InputConfig,
    MergeConfig,
    ModelConfig,
    SemanticConfig,
)
from panoptic_blend.config.prediction import PREDICTION_SECTIONS, PREDICTION_SETTINGS, PredictionSettings
from panoptic_blend.config.training import (
    Config,
    DataConfig,
    OptimizerConfig,
    TrainerConfig,
)

__all__ = [
    "PREDICTION_SECTIONS",
    "PREDICTION_SETTINGS",
    "BackboneConfig",
    "BasesConfig",
    "BlenderConfig",
    "CenterMaskPointConfig",
    "CondInstConfig",
    "Config",
    "DataConfig",
    "FCOSConfig",
    "FPNConfig",
    "InputConfig",
    "MasksConfig",
    "MergeConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PredictionSettings",
    "SAGConfig",
    "SemanticConfig",
    "TrainerConfig",
]
