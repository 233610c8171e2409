"""What follows the network at prediction: decode -> masks -> stuff -> merge."""

from panoptic_blend.modeling.postprocess.postprocessor import PostProcessor

__all__ = ["PostProcessor"]
