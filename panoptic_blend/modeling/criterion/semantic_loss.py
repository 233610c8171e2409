"""The losses of the stuff branch (Panoptic Feature Pyramid Networks, sec. 3; V-Net, sec. 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from panoptic_blend.categories import IGNORE
from panoptic_blend.modeling.criterion.losses import mean_over_processes
from panoptic_blend.modeling.network.semantic import STRIDE


def semantic_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy at full resolution, averaged over the pixels that are not ignored.

    Args:
        logits: [B, 1 + S, H / 4, W / 4].
        targets: [B, H, W] int64; 0 = a thing, 1..S = stuff, -1 = ignore.

    Returns:
        Scalar; 0 (with zero gradients) when every pixel is ignored.
    """
    total: Tensor = _SumOverPixels.apply(_laid_out(logits), targets, _cross_entropy)
    return total / (targets != IGNORE).sum().clamp(min=1)


def semantic_dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - dice of every class that the batch shows, averaged over these classes (Milletari et al., 2016, sec. 3).

    Cross-entropy hardly notices poles, which have a hundredth of the pixels; here each class counts the same.

    Args:
        logits: [B, 1 + S, H / 4, W / 4].
        targets: [B, H, W] int64 as for `semantic_loss`.

    Returns:
        Scalar; 0 (with zero gradients) when every pixel is ignored.
    """
    logits = _laid_out(logits)
    with torch.no_grad(), _full_precision(logits):
        areas = torch.stack([_areas(pixels, labels) for pixels, labels, _ in _strips(logits, targets)]).sum(dim=0)
        common, predicted, true = mean_over_processes(areas)
        present = true > 0
        both = (predicted + true).clamp(min=1e-6)
        share = present / present.sum().clamp(min=1)
        value = (share * (1 - 2 * common / both)).sum()
        # The derivatives of the value with respect to the sums, which lead to every logit by the chain rule.
        by_common, by_predicted = -2 * share / both, 2 * share * common / both**2

    def linear(pixels: Tensor, labels: Tensor) -> Tensor:
        common, predicted, _ = _areas(pixels, labels)
        return (by_common * common + by_predicted * predicted).sum()

    slope: Tensor = _SumOverPixels.apply(logits, targets, linear)
    return value + slope - slope.detach()


def _cross_entropy(pixels: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(pixels, labels, ignore_index=IGNORE, reduction="sum")


def _areas(pixels: Tensor, labels: Tensor) -> Tensor:
    """Of every class, summed over the pixels that are not ignored: predicted and true at once, predicted, true.

    Args:
        pixels: [P, C] or [B, C, H, W] logits.
        labels: [P] or [B, H, W].

    Returns:
        [3, C].
    """
    counted = (labels != IGNORE).to(pixels.dtype)
    probability = pixels.softmax(dim=1)
    index = labels.clamp(min=0)
    own = probability.gather(1, index[:, None])[:, 0] * counted
    common = pixels.new_zeros(pixels.shape[1]).index_add(0, index.flatten(), own.flatten())
    true = pixels.new_zeros(pixels.shape[1]).index_add(0, index.flatten(), counted.flatten())
    if pixels.dim() == 2:
        predicted = counted @ probability
    else:
        predicted = (probability.flatten(2) @ counted.flatten(1)[:, :, None]).sum(dim=(0, 2))
    return torch.stack([common, predicted, true])


def _laid_out(logits: Tensor) -> Tensor:
    """In the memory format in which a softmax over so many classes is fast: a processor takes 8 or 16 numbers at once,
    of the classes of one pixel where there are more of them, else of one class in neighbouring pixels.
    """
    many = logits.shape[1] >= _MANY_CLASSES
    if not torch.is_grad_enabled():
        logits = logits.detach()  # `_SumOverPixels` sees what requires a gradient, and not whether one is wanted
    return logits.float().contiguous(memory_format=torch.channels_last if many else torch.contiguous_format)


def _strips(logits: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor, tuple[Tensor, slice]]]:
    """Logits upsampled x4, a few rows at a time, since those of every class and pixel would be the largest tensor of a
    training step.

    Yields:
        Logits of the pixels of these rows, [B, C, h, W] or, of many classes, [P, C]; their targets, [B, h, W] or [P];
        and what the logits depend on: rows of `logits`, cut off from its graph, and which these are.
    """
    height, width = logits.shape[2:]
    down, across = _bilinear_weights(height, logits.device), _bilinear_weights(width, logits.device)
    step = max(_LEAST_ROWS, _LOGITS_AT_ONCE // (logits[:, :, 0].numel() * STRIDE**2))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        mixed = slice(max(top - 1, 0), min(bottom + 1, height))  # with the neighbours that upsampling mixes in
        rows = logits[:, :, mixed].detach().requires_grad_(torch.is_grad_enabled())
        own = down[top * STRIDE : bottom * STRIDE, mixed]
        labels = targets[:, top * STRIDE : bottom * STRIDE]
        if logits.shape[1] >= _MANY_CLASSES:
            tall = (own @ rows.permute(0, 2, 3, 1).flatten(2)).unflatten(2, (width, -1))
            yield (across @ tall).flatten(0, 2), labels.flatten(), (rows, mixed)
        else:
            yield own @ (rows @ across.T), labels, (rows, mixed)


def _bilinear_weights(length: int, device: torch.device) -> Tensor:
    """What each of `length` values gives to each of `STRIDE` times as many, [STRIDE * length, length].

    As products of matrices, bilinear upsampling has the same numbers as `F.interpolate` and a gradient that takes a
    half to a fifth of the time on CPUs.
    """
    one_each = torch.eye(length, device=device)[None]
    return F.interpolate(one_each, scale_factor=float(STRIDE), mode="linear", align_corners=False)[0].T.contiguous()


def _full_precision(logits: Tensor) -> torch.autocast:
    """No rounding to the precision of a mixed-precision step, which would reach the products of `_strips`."""
    return torch.autocast(logits.device.type, enabled=False)


class _SumOverPixels(torch.autograd.Function):
    """Sum of a loss over the pixels of logits upsampled x4, its gradient found along with it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        total = logits.new_zeros(())
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(logits) if wanted else None
        with torch.set_grad_enabled(wanted), _full_precision(logits):
            for pixels, labels, (rows, mixed) in _strips(logits, targets):
                part = loss(pixels, labels)
                if gradient is not None:
                    gradient[:, :, mixed] += torch.autograd.grad(part, rows)[0]
                total += part.detach()
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None


_LOGITS_AT_ONCE = 1 << 22
"""Few enough to stay in a processor's last cache."""
_MANY_CLASSES = 16
_LEAST_ROWS = 8
"""Of every step, since two more are computed with them."""
