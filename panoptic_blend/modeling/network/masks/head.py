"""What every mask head is given and gives: features and boxes in, one R x R mask an instance out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from panoptic_blend.modeling.network.locations import Sites
from panoptic_blend.modeling.network.network import NetworkOutput


class MaskFeatures(NamedTuple):
    """Everything the network offers to a mask head; each reads what its formula needs.

    Attributes:
        bases: [B, K, H / 4, W / 4] drawn by the bottom module, K as the head's `num_maps` says; None for 0.
        towers: regression tower per level, [B, C, H_l, W_l], for predictions of single instances (`conv3x3_at`).
        pyramid: P3 and coarser, [B, C, H_l, W_l].
    """

    bases: Tensor | None
    towers: list[Tensor]
    pyramid: list[Tensor]

    @staticmethod
    def of(output: NetworkOutput) -> MaskFeatures:
        """What a mask head reads of the network's output."""
        assert output.detector is not None, "masks need a detector"
        return MaskFeatures(output.bases, output.detector.towers, output.pyramid)


@dataclass
class MaskRequest:
    """N sites of a batch that ask for a mask, and the G boxes those masks fill.

    In training many sites share a true box, so that what depends on the box alone is computed once a box.

    Attributes:
        sites: N cells of the pyramid.
        boxes: [G, 4] XYXY input pixels.
        image: [G] index in the batch.
        labels: [G] contiguous thing labels.
        box_of_site: [N] index into the boxes; None when site n has box n, as in prediction.
    """

    sites: Sites
    boxes: Tensor
    image: Tensor
    labels: Tensor
    box_of_site: Tensor | None = None

    def per_site(self, of_boxes: Tensor) -> Tensor:
        """Rows of the boxes [G, ...] as rows of the sites [N, ...]."""
        return of_boxes if self.box_of_site is None else of_boxes[self.box_of_site]

    def __getitem__(self, index: Tensor) -> MaskRequest:
        """What the sites at indices [M] ask for, with the boxes of these alone."""
        if self.box_of_site is None:
            return MaskRequest(self.sites[index], self.boxes[index], self.image[index], self.labels[index])
        own, box_of_site = self.box_of_site[index].unique(return_inverse=True)
        return MaskRequest(self.sites[index], self.boxes[own], self.image[own], self.labels[own], box_of_site)


class MaskHead(nn.Module, ABC):
    """Turns boxes into mask logits.

    Args:
        num_maps: bases the bottom module draws for this head; 0 for none.
        resolution: R.
    """

    def __init__(self, num_maps: int, resolution: int):
        super().__init__()
        self.num_maps = num_maps
        self.resolution = resolution

    @abstractmethod
    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        """Mask logits [N, R, R] inside the box of each site of the request, each independent of the other sites.

        Many sites are taken some at a time, and again for the gradient: no statistics over a batch, no counting.
        """


def make_top_layer(channels: int, outputs: int) -> nn.Conv2d:
    """The 3x3 convolution on the regression tower that predicts an instance's own parameters (BlendMask, sec. 3.1)."""
    layer = nn.Conv2d(channels, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def logit_of_product(a: Tensor, b: Tensor) -> Tensor:
    """The logit of sigmoid(a) x sigmoid(b), without leaving logarithms: a product near 0 or 1 keeps its gradient."""
    return -torch.logaddexp(torch.logaddexp(-a, -b), -a - b)
