"""What follows the network in training: assignment and losses."""

from panoptic_blend.modeling.criterion.criterion import Criterion

__all__ = ["Criterion"]
