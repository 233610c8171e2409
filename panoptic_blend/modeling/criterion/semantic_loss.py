"""The loss of the stuff branch (Panoptic Feature Pyramid Networks, sec. 3)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from panoptic_blend.categories import IGNORE
from panoptic_blend.modeling.network.semantic import STRIDE


def semantic_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy at full resolution, averaged over the pixels that are not ignored.

    Args:
        logits: [B, 1 + S, H / 4, W / 4].
        targets: [B, H, W] int64; 0 = a thing, 1..S = stuff, -1 = ignore.

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
