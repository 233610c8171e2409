"""Models on disk: our own files, and those of AdelaiDet, detectron2 and torchvision."""

from panoptic_blend.checkpoints.adelaidet import from_adelaidet
from panoptic_blend.checkpoints.backbone import load_backbone_weights
from panoptic_blend.checkpoints.initialise import Initialisation, initialise
from panoptic_blend.checkpoints.native import load_model, save_model

__all__ = ["Initialisation", "from_adelaidet", "initialise", "load_backbone_weights", "load_model", "save_model"]
