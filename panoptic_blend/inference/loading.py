"""Opens a model by its path or name, whatever it runs in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.runtime.manifest import is_export

if TYPE_CHECKING:  # an exported model predicts where there is no torch
    from panoptic_blend.modeling.panoptic_blend import PanopticBlend


def load(source: Path | str, threads: int | None = None) -> PanopticBlend | ExportedModel:
    """Open a model, on the CPU and ready to predict.

    Args:
        source: a run's folder, a `.safetensors` file, a folder that `panoptic-blend export` wrote, the name of a model
            that `panoptic-blend models` lists, or `hf:OWNER/MODEL[@REVISION]` on Hugging Face's hub. An exported
            folder is opened without torch, and only predicts; what is not here is downloaded at first use.
        threads: in which an exported model computes; None leaves their number to its runtime. Those of torch are set
            with `torch.set_num_threads`.

    Raises:
        CheckpointError: there is no model, or it is damaged, foreign or newer than this software.
        DownloadError: a known model that is not here and cannot be brought here.
    """
    if is_export(source):
        return ExportedModel(source, threads)
    from panoptic_blend.checkpoints.names import load_checkpoint

    return load_checkpoint(source)
