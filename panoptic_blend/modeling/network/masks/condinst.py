"""Conditional convolutions: every instance brings the network that draws its mask (CondInst, Tian et al., 2020)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from panoptic_blend.modeling.network.bases import BASES_STRIDE
from panoptic_blend.modeling.network.locations import Sites, conv3x3_at
from panoptic_blend.modeling.network.masks.crop import crop_regions
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest, make_top_layer


def apply_layers(x: Tensor, parameters: Tensor, widths: Sequence[int]) -> Tensor:
    """Run every instance's own 1x1 convolutions, with ReLU between them (sec. 3.2).

    Args:
        x: [N, widths[0], R, R].
        parameters: [N, P]: weights [outputs, inputs], then biases [outputs], layer after layer.
        widths: channels of the input and of every layer's output.

    Returns:
        [N, widths[-1], R, R].
    """
    layers = list(itertools.pairwise(widths))
    parts = iter(parameters.split([size for inputs, outputs in layers for size in (inputs * outputs, outputs)], dim=1))
    flat = x.flatten(2)
    for index, (inputs, outputs) in enumerate(layers):
        weight, bias = next(parts).view(-1, outputs, inputs), next(parts)
        flat = torch.baddbmm(bias[..., None], weight, flat if index == 0 else flat.relu())
    return flat.view(-1, widths[-1], *x.shape[2:])


class ConditionalConvolutions(MaskHead):
    """A few 1x1 convolutions with predicted weights, over a shared mask branch and relative coordinates (sec. 3.2).

    The paper runs them over the whole image. 1x1 convolutions look at one place at a time, so that here they run where
    the box is sampled, and nothing outside the box is computed or drawn.

    Args:
        tower_channels: width of the regression tower the weights are read from.
        strides: of the detector's levels.
        sizes_of_interest: upper size bound of each level but the last; relative coordinates are divided by it.
        branch_channels: width of the mask branch: the bases.
        resolution: R.
        channels: width of the hidden layers.
        num_layers: of the predicted network; 3 of 8 channels over a branch of 8 make 169 weights.
        pooling: how the mask branch is sampled inside a box.
    """

    scales: Tensor

    def __init__(
        self,
        tower_channels: int,
        strides: Sequence[int],
        sizes_of_interest: Sequence[float],
        branch_channels: int = 8,
        resolution: int = 56,
        channels: int = 8,
        num_layers: int = 3,
        pooling: Literal["bilinear", "nearest"] = "bilinear",
    ):
        super().__init__(branch_channels, resolution)
        self.strides = list(strides)
        self.pooling = pooling
        self.widths = [2 + branch_channels, *[channels] * (num_layers - 1), 1]
        sizes = [*sizes_of_interest, 2 * sizes_of_interest[-1]]
        self.register_buffer("scales", torch.tensor(sizes, dtype=torch.float32), persistent=False)
        num_parameters = sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self.widths))
        self.top_layer = make_top_layer(tower_channels, num_parameters)

    def forward(self, features: MaskFeatures, request: MaskRequest) -> Tensor:
        """Mask logits [N, R, R] of the requested sites."""
        assert features.bases is not None
        branch = crop_regions(features.bases, request.boxes, request.image, BASES_STRIDE, self.resolution, self.pooling)
        place = self.relative_coordinates(request.per_site(request.boxes).to(branch.dtype), request.sites)
        x = torch.cat([place, request.per_site(branch)], dim=1)
        parameters = conv3x3_at(self.top_layer, features.towers, request.sites).to(x.dtype)
        return apply_layers(x, parameters, self.widths)[:, 0]

    def relative_coordinates(self, boxes: Tensor, sites: Sites) -> Tensor:
        """From each sample of a box to the site that asks, x and y, in sizes of interest of its level.

        Args:
            boxes: [N, 4] XYXY input pixels, one a site.
            sites: N cells.

        Returns:
            [N, 2, R, R].
        """
        steps = (torch.arange(self.resolution, device=boxes.device) + 0.5) / self.resolution
        samples = boxes[:, :2, None] + steps * (boxes[:, 2:] - boxes[:, :2])[..., None]  # [N, 2, R]
        offsets = (sites.centers(self.strides)[..., None] - samples) / self.scales[sites.level, None, None]
        x, y = offsets.unbind(1)
        return torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=1)
