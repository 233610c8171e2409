from __future__ import annotations

import torch

from panoptic_blend.modeling.network.semantic import SemanticTrunk


def test_trunk_brings_every_level_to_stride_four() -> None:
    trunk = SemanticTrunk(8, 12)
    pyramid = {level: torch.randn(1, 8, 64 // 2**level, 96 // 2**level) for level in range(2, 6)}
    assert trunk(pyramid).shape == (1, 12, 16, 24)
