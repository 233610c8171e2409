"""The stuff branch of Panoptic FPN, and how its logits become a label map."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from panoptic_blend.categories import IGNORE
from panoptic_blend.modeling.network.layers import conv_norm_relu

STRIDE = 4


class SemanticTrunk(nn.Module):
    """P2..P5 -> one stride-4 map (Panoptic Feature Pyramid Networks, fig. 3).

    A level at stride s takes log2(s / 4) rounds of convolution and x2 upsampling; the results are summed.
    """

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.scale_heads = nn.ModuleList()
        for level in range(2, 6):
            stages: list[nn.Module] = []
            for index in range(max(level - 2, 1)):
                stages.append(conv_norm_relu(in_channels if index == 0 else channels, channels, "group"))
                if level > 2:
                    stages.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.scale_heads.append(nn.Sequential(*stages))

    def forward(self, pyramid: dict[int, Tensor]) -> Tensor:
        """Level -> [B, in_channels, H_l, W_l] becomes [B, channels, H / 4, W / 4]."""
        merged = self.scale_heads[0](pyramid[2])
        for level, head in enumerate(self.scale_heads[1:], start=3):
            merged = head(pyramid[level]).add_(merged)
        return merged


def semantic_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy at full resolution, averaged over the pixels that are not ignored.

    Args:
        logits: [B, 1 + S, H / 4, W / 4].
        targets: [B, H, W] int64; 0 = a thing, 1..S = stuff, 255 = ignore.

    Returns:
        Scalar; 0 (with zero gradients) when every pixel is ignored.
    """
    total: Tensor = _UpsampledCrossEntropy.apply(logits.float().contiguous(memory_format=torch.channels_last), targets)
    return total / (targets != IGNORE).sum().clamp(min=1)


class _UpsampledCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropy of logits upsampled x4, their gradient found along with it.

    A few rows at a time: the logits of every class and pixel, and the two copies that a gradient takes, are never in
    memory as a whole. They would be the largest tensors of a training step.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        total = logits.new_zeros(())
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(logits) if wanted else None
        height = logits.shape[2]
        step = max(_LEAST_ROWS, _LOGITS_AT_ONCE // (logits[:, :, 0].numel() * STRIDE**2))
        for top in range(0, height, step):
            bottom = min(top + step, height)
            first, last = max(top - 1, 0), min(bottom + 1, height)  # the neighbours that upsampling mixes in
            rows = logits[:, :, first:last].detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted):
                upsampled = F.interpolate(rows, scale_factor=float(STRIDE), mode="bilinear", align_corners=False)
                loss = F.cross_entropy(
                    upsampled[:, :, (top - first) * STRIDE : (bottom - first) * STRIDE]
                    .permute(0, 2, 3, 1)
                    .flatten(0, 2),
                    targets[:, top * STRIDE : bottom * STRIDE].flatten(),
                    ignore_index=IGNORE,
                    reduction="sum",
                )
            if gradient is not None:
                gradient[:, :, first:last] += torch.autograd.grad(loss, rows)[0]
            total += loss.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.saved_tensors[0], None


_LOGITS_AT_ONCE = 1 << 22
"""Few enough to stay in a processor's last cache."""
_LEAST_ROWS = 8
"""Of every step, since two more are computed with them."""


def semantic_labels(logits: Tensor, image_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Most likely class per output pixel: upsample x4, crop the padding, resize, argmax.

    A pixel's logits are a weighted mean of the few cells around it. Where one class leads in all of them it leads in
    the mean too, so that only pixels near the borders of classes are interpolated, and nothing of size classes x pixels
    is ever in memory.

    Args:
        logits: [C, h, w] at stride 4 of the padded batch, C < 256.
        image_size: (height, width) of this image in the batch.
        size: (height, width) of the output.

    Returns:
        [height, width] uint8.
    """
    table = logits.permute(1, 2, 0).float().contiguous()  # [h, w, C]
    top, row_weights = _taps(table.shape[0], image_size[0], size[0], logits.device)
    left, column_weights = _taps(table.shape[1], image_size[1], size[1], logits.device)
    leading = table.argmax(dim=2).to(torch.uint8)
    windows = leading.unfold(0, row_weights.shape[1], 1).unfold(1, column_weights.shape[1], 1).flatten(2)
    lowest, highest = windows.amin(dim=2), windows.amax(dim=2)
    labels = torch.where(lowest == highest, lowest, _UNDECIDED)[top][:, left]

    cells = torch.arange(table.shape[0] * table.shape[1], device=logits.device).view(table.shape[:2])
    cells = cells.unfold(0, row_weights.shape[1], 1).unfold(1, column_weights.shape[1], 1)
    for rows, columns in zip(*(p.split(_PIXELS_AT_ONCE) for p in _positions(labels == _UNDECIDED)), strict=True):
        weights = row_weights[rows, :, None] * column_weights[columns, None, :]
        mixed = F.embedding_bag(
            cells[top[rows], left[columns]].flatten(1),
            table.flatten(0, 1),
            per_sample_weights=weights.flatten(1),
            mode="sum",
        )
        labels[rows, columns] = mixed.argmax(dim=1).to(torch.uint8)
    return labels


_UNDECIDED = 255
_PIXELS_AT_ONCE = 1 << 15


def _positions(mask: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = mask.nonzero(as_tuple=True)
    return rows, columns


def _taps(cells: int, image_length: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which cells an output pixel is mixed from, along one axis.

    Args:
        cells: of the logits, at stride 4.
        image_length: pixels of the upsampled logits that are image rather than padding.
        length: pixels of the output.

    Returns:
        [length] the first cell, and [length, taps] the weights of the cells from there on.
    """
    every = torch.eye(cells, device=device)[None]  # each cell by itself, brought to the output
    every = F.interpolate(every, scale_factor=float(STRIDE), mode="linear", align_corners=False)[..., :image_length]
    weights = F.interpolate(every, length, mode="linear", align_corners=False)[0].T  # [length, cells]
    used = weights > 0
    first = used.int().argmax(dim=1)
    last = cells - 1 - used.flip(1).int().argmax(dim=1)
    taps = int((last - first).max()) + 1
    first = first.clamp(max=cells - taps)
    return first, weights.gather(1, first[:, None] + torch.arange(taps, device=device))
