"""C2..C5 -> P2..P7: the pyramid every branch shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FPN(nn.Module):
    """Feature Pyramid Network (Lin et al., 2017) with FCOS's extra levels on P5.

    Args:
        in_channels: channels of C2, C3, C4, C5.
        channels: channels of every output level.
        finest_level: 2 or 3; backbone levels below are not read.
        coarsest_level: 5, 6 or 7; P6 and P7 are stride-2 convolutions of the level before.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, finest_level: int = 2, coarsest_level: int = 7):
        super().__init__()
        self.levels = list(range(finest_level, coarsest_level + 1))
        used = in_channels[finest_level - 2 :]
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in used)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in used)
        self.extra = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(coarsest_level - 5)
        )
        for convolution in self.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.kaiming_uniform_(convolution.weight, a=1)
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor]) -> dict[int, Tensor]:
        """C2..C5 -> level number -> [B, channels, H / 2^level, W / 2^level].

        Empties the list, so that each feature can be freed once it has been read.
        """
        del features[: len(features) - len(self.lateral)]
        merged = self.lateral[-1](features.pop())
        outputs = [self.output[-1](merged)]
        for lateral, output in zip(self.lateral[-2::-1], self.output[-2::-1], strict=True):
            merged = lateral(features.pop()).add_(F.interpolate(merged, scale_factor=2.0, mode="nearest"))
            outputs.insert(0, output(merged))
        for index, convolution in enumerate(self.extra):
            outputs.append(convolution(outputs[-1] if index == 0 else F.relu(outputs[-1])))
        return dict(zip(self.levels, outputs, strict=True))
