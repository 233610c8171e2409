"""Opens a model by its path, whatever it runs in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import is_export

if TYPE_CHECKING:  # an exported model predicts where there is no torch
    from panoptic_blend.modeling.panoptic_blend import PanopticBlend


def load(path: Path | str) -> PanopticBlend | ExportedModel:
    """Open a model, on the CPU and ready to predict.

    Args:
        path: a run's folder, a `.safetensors` file, or a folder that `panoptic-blend export` wrote. The last is opened
            without torch, and only predicts.

    Raises:
        CheckpointError: there is no model, or it is damaged, foreign or newer than this software.
    """
    if is_export(path):
        return ExportedModel(path)
    from panoptic_blend.checkpoints.native import load_model

    return load_model(path)
