"""Brings AdelaiDet's BlendMask up from a checkout, without its compiled part, which BlendMask hardly needs."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PANOPTIC_R50 = "configs/BlendMask/Panoptic/R_50_3x.yaml"


def load_adelaidet(checkout: Path) -> tuple[Any, Path]:
    """AdelaiDet's panoptic R-50 BlendMask with random weights, and its YAML.

    Args:
        checkout: of AdelaiDet; detectron2 must be importable.
    """
    for name in ("adet", "adet.modeling"):  # as packages whose __init__, with all other models, is not run
        package = ModuleType(name)
        package.__path__ = [str(checkout.joinpath(*name.split(".")))]
        sys.modules[name] = package
    compiled = ModuleType("adet._C")
    sys.modules["adet._C"] = compiled
    sys.modules["adet"]._C = compiled  # type: ignore[attr-defined]
    for name in ("adet.modeling.fcos", "adet.modeling.blendmask", "adet.modeling.backbone.fpn"):
        import_module(name)
    cfg = import_module("adet.config").get_cfg()
    config = checkout / PANOPTIC_R50
    cfg.merge_from_file(str(config))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = ""
    return import_module("detectron2.modeling").build_model(cfg).eval(), config
