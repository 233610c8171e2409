"""The losses of the stuff branch (Panoptic Feature Pyramid Networks, sec. 3; V-Net, sec. 3)."""

from __future__ import annotations

import itertools
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
    """Cross-entropy at full resolution, averaged over the pixels, of all processes, that are not ignored.

    Args:
        logits: [B, 1 + S, H / 4, W / 4].
        targets: [B, H, W] int64; 0 = a thing, 1..S = stuff, -1 = ignore.

    Returns:
        Scalar; 0 (with zero gradients) when every pixel is ignored.
    """
    total: Tensor = _SumOverPixels.apply(_laid_out(logits), targets, _cross_entropy)
    return total / mean_over_processes((targets != IGNORE).sum()).clamp(min=1)


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
        areas = torch.stack([_areas(pixels, labels) for pixels, labels, _ in _tiles(logits, targets)]).sum(dim=0)
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
    # In float64: a CPU adds up millions of terms one after the other.
    none = pixels.new_zeros(pixels.shape[1], dtype=torch.float64)
    common = none.index_add(0, index.flatten(), own.flatten().double()).to(pixels.dtype)
    true = none.index_add(0, index.flatten(), counted.flatten().double()).to(pixels.dtype)
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


def _tiles(logits: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor, tuple[Tensor, slice, slice]]]:
    """Logits upsampled x4, a tile at a time, since those of every class and pixel would be the largest tensor of a
    training step.

    Yields:
        Logits of the pixels of a tile, [B, C, h, w] or, of many classes, [P, C]; their targets, [B, h, w] or [P]; and
        what the logits depend on: cells of `logits`, cut off from its graph, and which rows and columns these are.
    """
    height, width = logits.shape[2:]
    across = min(width, _MOST_COLUMNS)
    down = max(_LEAST_ROWS, _LOGITS_AT_ONCE // (logits[:, :, 0, 0].numel() * across * STRIDE**2))
    for top, left in itertools.product(range(0, height, down), range(0, width, across)):
        rows, columns = slice(top, min(top + down, height)), slice(left, min(left + across, width))
        mixed_rows, mixed_columns = _with_neighbours(rows, height), _with_neighbours(columns, width)
        cells = logits[:, :, mixed_rows, mixed_columns].detach().requires_grad_(torch.is_grad_enabled())
        by_row = _bilinear_weights(rows, mixed_rows, height, logits.device)
        by_column = _bilinear_weights(columns, mixed_columns, width, logits.device)
        labels = targets[:, _pixels(rows), _pixels(columns)]
        if logits.shape[1] >= _MANY_CLASSES:
            wide = by_column @ cells.permute(0, 2, 3, 1)  # [B, rows, w, C]
            tile = (by_row @ wide.flatten(2)).unflatten(2, wide.shape[2:])
            yield tile.flatten(0, 2), labels.flatten(), (cells, mixed_rows, mixed_columns)
        else:
            yield by_row @ (cells @ by_column.T), labels, (cells, mixed_rows, mixed_columns)


def _pixels(cells: slice) -> slice:
    return slice(cells.start * STRIDE, cells.stop * STRIDE)


def _with_neighbours(cells: slice, length: int) -> slice:
    """With those that upsampling mixes in."""
    return slice(max(cells.start - 1, 0), min(cells.stop + 1, length))


def _bilinear_weights(cells: slice, mixed: slice, length: int, device: torch.device) -> Tensor:
    """What each of the cells `mixed`, of `length`, gives to each pixel of the cells `cells`, [pixels, mixed].

    As products of matrices, bilinear upsampling has the numbers of `F.interpolate` (to the precision that
    `torch.set_float32_matmul_precision` asks for), and on CPUs its gradient takes a half to a fifth of the time.
    """
    pixels = torch.arange(cells.start * STRIDE, cells.stop * STRIDE, device=device)
    places = ((pixels + 0.5) / STRIDE - 0.5).clamp(0, length - 1)
    return (1 - (places[:, None] - torch.arange(mixed.start, mixed.stop, device=device)).abs()).clamp(min=0)


def _full_precision(logits: Tensor) -> torch.autocast:
    """No rounding to the precision of a mixed-precision step, which would reach the products of `_tiles`."""
    return torch.autocast(logits.device.type, enabled=False)


class _SumOverPixels(torch.autograd.Function):
    """Sum of a loss over the pixels of logits upsampled x4, its gradient found along with it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        total = logits.new_zeros(())
        wanted = ctx.needs_input_grad[0]
        gradient = torch.zeros_like(logits) if wanted else None
        with torch.set_grad_enabled(wanted), _full_precision(logits):
            for pixels, labels, (cells, rows, columns) in _tiles(logits, targets):
                part = loss(pixels, labels)
                if gradient is not None:
                    gradient[:, :, rows, columns] += torch.autograd.grad(part, cells)[0]
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
"""Of every tile, since two more are computed with them."""
_MOST_COLUMNS = 256
"""Of a tile, since the work of a product grows with them."""
