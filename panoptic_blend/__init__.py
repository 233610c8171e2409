"""Panoptic segmentation by BlendMask.

    import panoptic_blend as pb

    model = pb.load("runs/train")                       # a run's folder, a .safetensors file, or an exported folder
    prediction = pb.Predictor(model)("street.jpg")
    prediction.save("street.png")                       # COCO panoptic PNG, and street.json beside it
    prediction.overlay().save("street_overlay.jpg")     # something to look at

    result = pb.panoptic_quality("panoptic_val.json", "out/predictions.json")
    print(result.all.pq)

    quality = pb.metrics.PanopticQuality(categories)    # the metrics in a loop of one's own

What is named here is imported when first used, so that scoring never waits for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from panoptic_blend._version import __version__

if TYPE_CHECKING:
    from panoptic_blend import metrics
    from panoptic_blend.categories import Categories, Category
    from panoptic_blend.checkpoints.backbone import load_backbone_weights
    from panoptic_blend.checkpoints.hub import push_to_hub
    from panoptic_blend.checkpoints.native import save_model as save
    from panoptic_blend.config import Config
    from panoptic_blend.config_files import read_config
    from panoptic_blend.errors import PanopticBlendError
    from panoptic_blend.evaluation.pq import panoptic_quality
    from panoptic_blend.inference.loading import load
    from panoptic_blend.inference.prediction import Prediction
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.modeling.build import build_model
    from panoptic_blend.modeling.panoptic_blend import PanopticBlend
    from panoptic_blend.training.run import train

__all__ = [
    "Categories",
    "Category",
    "Config",
    "PanopticBlend",
    "PanopticBlendError",
    "Prediction",
    "Predictor",
    "__version__",
    "build_model",
    "load",
    "load_backbone_weights",
    "metrics",
    "panoptic_quality",
    "push_to_hub",
    "read_config",
    "save",
    "train",
]

_HOMES = {
    "Categories": ("panoptic_blend.categories", "Categories"),
    "Category": ("panoptic_blend.categories", "Category"),
    "Config": ("panoptic_blend.config", "Config"),
    "PanopticBlend": ("panoptic_blend.modeling.panoptic_blend", "PanopticBlend"),
    "PanopticBlendError": ("panoptic_blend.errors", "PanopticBlendError"),
    "Prediction": ("panoptic_blend.inference.predictor", "Prediction"),
    "Predictor": ("panoptic_blend.inference.predictor", "Predictor"),
    "build_model": ("panoptic_blend.modeling.build", "build_model"),
    "load": ("panoptic_blend.inference.loading", "load"),
    "load_backbone_weights": ("panoptic_blend.checkpoints.backbone", "load_backbone_weights"),
    "metrics": ("panoptic_blend.metrics", ""),
    "panoptic_quality": ("panoptic_blend.evaluation.pq", "panoptic_quality"),
    "push_to_hub": ("panoptic_blend.checkpoints.hub", "push_to_hub"),
    "read_config": ("panoptic_blend.config_files", "read_config"),
    "save": ("panoptic_blend.checkpoints.native", "save_model"),
    "train": ("panoptic_blend.training.run", "train"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    path, attribute = _HOMES[name]
    module = import_module(path)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
