"""The packages that this one is compared with, where they are installed."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PANOPTIC_R50 = "configs/BlendMask/Panoptic/R_50_3x.yaml"


def import_peer(name: str, how: str = "see README.md on detectron2") -> ModuleType:
    """Import another package's module, or end with a word on how to get it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.split(".")[0]
        if error.name is None or error.name.split(".")[0] != package:
            raise
        sys.exit(f"{package} is not installed here, so there is nothing to compare with: {how}.")


def load_adelaidet(checkout: Path) -> tuple[Any, Path]:
    """AdelaiDet's panoptic R-50 BlendMask with random weights, and its YAML.

    Args:
        checkout: of AdelaiDet; detectron2 must be importable.
    """
    cfg = import_adelaidet(checkout)
    config = checkout / PANOPTIC_R50
    cfg.merge_from_file(str(config))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = ""
    return import_peer("detectron2.modeling").build_model(cfg).eval(), config


def import_adelaidet(checkout: Path) -> Any:
    """Make AdelaiDet's BlendMask known to detectron2, and return AdelaiDet's default configuration.

    Its compiled part stays out: BlendMask hardly needs it.

    Args:
        checkout: of AdelaiDet; detectron2 must be importable.
    """
    import_peer("detectron2")
    if not (checkout / PANOPTIC_R50).is_file():
        sys.exit(f"{checkout}: not a checkout of AdelaiDet: it has no {PANOPTIC_R50}.")
    for name in ("adet", "adet.modeling"):  # as packages whose __init__, with all other models, is not run
        package = ModuleType(name)
        package.__path__ = [str(checkout.joinpath(*name.split(".")))]
        sys.modules[name] = package
    compiled = ModuleType("adet._C")
    sys.modules["adet._C"] = compiled
    sys.modules["adet"]._C = compiled  # type: ignore[attr-defined]
    for name in ("adet.modeling.fcos", "adet.modeling.blendmask", "adet.modeling.backbone.fpn"):
        import_module(name)
    return import_module("adet.config").get_cfg()
