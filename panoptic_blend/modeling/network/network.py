"""The network: a batched image tensor in, raw tensors out, no branching on values.

This is the part that is compiled, exported and timed on its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from panoptic_blend.modeling.network.fcos_head import FCOSHead, HeadOutput
from panoptic_blend.modeling.network.fpn import FPN
from panoptic_blend.modeling.network.semantic import SemanticTrunk


class NetworkOutput(NamedTuple):
    """Raw outputs for a batch of B padded images.

    Attributes:
        detector: FCOS outputs per level, or None for a stuff-only model.
        pyramid: P3 and coarser, [B, C, H_l, W_l].
        bases: [B, K, H / 4, W / 4], or None when the mask head reads none.
        semantic: [B, 1 + S, H / 4, W / 4] logits, or None for an instance-only model.
        auxiliary: [B, 1 + T, H / 8, W / 8] logits of the auxiliary head; training only.
    """

    detector: HeadOutput | None
    pyramid: list[Tensor]
    bases: Tensor | None
    semantic: Tensor | None
    auxiliary: Tensor | None


class Network(nn.Module):
    """Backbone, shared pyramid and the three branches that read it.

    Args:
        backbone: image -> C2..C5.
        fpn: C2..C5 -> pyramid.
        head: FCOS on P3 and coarser, or None without things.
        bases: bottom module, or None when the mask head reads no bases.
        trunk: the semantic branch's stride-4 map, or None without stuff.
        stuff_predictor: trunk (and bases, when shared) -> semantic logits.
        bases_read_backbone: the bottom module reads C2..C5, which otherwise go once the pyramid is built.
        bases_reach_stuff: the stuff predictor reads the bases beside the trunk.
        auxiliary: auxiliary semantic head on P3, or None.
    """

    def __init__(
        self,
        backbone: nn.Module,
        fpn: FPN,
        head: FCOSHead | None,
        bases: nn.Module | None,
        trunk: SemanticTrunk | None,
        stuff_predictor: nn.Conv2d | None,
        bases_read_backbone: bool,
        bases_reach_stuff: bool,
        auxiliary: nn.Module | None,
    ):
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.head = head
        self.bases = bases
        self.trunk = trunk
        self.stuff_predictor = stuff_predictor
        self.bases_read_backbone = bases_read_backbone
        self.bases_reach_stuff = bases_reach_stuff
        self.auxiliary = auxiliary

    def forward(self, images: Tensor) -> NetworkOutput:
        """Normalised images [B, C, H, W], H and W multiples of 32 -> `NetworkOutput`."""
        features = self.backbone(images)
        read_again = list(features) if self.bases_read_backbone else []
        return self.read_pyramid(read_again, self.fpn(features))

    def read_pyramid(self, features: list[Tensor], pyramid: dict[int, Tensor]) -> NetworkOutput:
        """All branches, from C2..C5 where the bases read them and from the pyramid, which loses P2 after the trunk."""
        levels = [pyramid[level] for level in self.fpn.levels if level >= 3]
        trunk = None if self.trunk is None else self.trunk(pyramid)
        pyramid.pop(2, None)  # the largest tensor of all
        bases = None if self.bases is None else self.bases(features, pyramid, trunk)
        semantic = None
        if self.stuff_predictor is not None and trunk is not None:
            read = trunk if bases is None or not self.bases_reach_stuff else torch.cat([trunk, bases], dim=1)
            semantic = self.stuff_predictor(read)
        detector = None if self.head is None else self.head(levels)
        auxiliary = self.auxiliary(pyramid[3]) if self.auxiliary is not None and self.training else None
        return NetworkOutput(detector, levels, bases, semantic, auxiliary)
