"""What every exported graph takes and gives, by name."""

from __future__ import annotations

IMAGE = "image"
"""The one input that has no default: uint8 [H, W, 3] RGB."""
THRESHOLDS = {"min_score": "float32", "max_overlap": "float32", "min_stuff_area": "int64"}
"""Settings that a graph may take as inputs, each a single number of this type."""
OUTPUTS = {"id_map": ("int32", 2), "segments": ("int32", 2), "scores": ("float32", 1)}
"""What the outputs hold, and their dimensions."""
COLUMNS = ("id", "category_id", "is_thing", "area", "x", "y", "width", "height")
"""Of `segments`."""
