"""From the stuff branch's logits to a label map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.modeling.network.semantic import STRIDE


def semantic_labels(logits: Tensor, image_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Most likely class per output pixel: upsample x4, crop the padding, resize, argmax.

    A pixel's logits are a weighted mean of the few cells around it. Where one class leads in all of them it leads in
    the mean too, so that only pixels near the borders of classes are interpolated, and nothing of size classes x pixels
    is ever in memory.

    Args:
        logits: [C, h, w] at stride 4 of the padded batch.
        image_size: (height, width) of this image in the batch.
        size: (height, width) of the output.

    Returns:
        [height, width] uint8, or uint16 for more than 255 classes.
    """
    table = logits.permute(1, 2, 0).float().contiguous()  # [h, w, C]
    top, row_weights = _taps(table.shape[0], image_size[0], size[0], logits.device)
    left, column_weights = _taps(table.shape[1], image_size[1], size[1], logits.device)
    # Few operations know uint16, so that it comes last.
    kind = torch.uint8 if len(logits) <= 255 else torch.int32
    undecided = torch.iinfo(kind).max
    leading = table.argmax(dim=2).to(kind)
    windows = leading.unfold(0, row_weights.shape[1], 1).unfold(1, column_weights.shape[1], 1).flatten(2)
    lowest, highest = windows.amin(dim=2), windows.amax(dim=2)
    labels = torch.where(lowest == highest, lowest, undecided)[top][:, left]

    cells = torch.arange(table.shape[0] * table.shape[1], device=logits.device).view(table.shape[:2])
    cells = cells.unfold(0, row_weights.shape[1], 1).unfold(1, column_weights.shape[1], 1)
    for rows, columns in zip(
        *(p.split(_PIXELS_AT_ONCE) for p in (labels == undecided).nonzero(as_tuple=True)), strict=True
    ):
        weights = row_weights[rows, :, None] * column_weights[columns, None, :]
        mixed = F.embedding_bag(
            cells[top[rows], left[columns]].flatten(1),
            table.flatten(0, 1),
            per_sample_weights=weights.flatten(1),
            mode="sum",
        )
        labels[rows, columns] = mixed.argmax(dim=1).to(kind)
    return labels if kind == torch.uint8 else labels.to(torch.uint16)


_PIXELS_AT_ONCE = 1 << 15
_APART = 8


def _taps(cells: int, image_length: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which cells an output pixel is mixed from, along one axis.

    Args:
        cells: of the logits, at stride 4.
        image_length: pixels of the upsampled logits that are image rather than padding.
        length: pixels of the output.

    Returns:
        [length] the first cell, and [length, taps] the weights of the cells from there on.
    """
    # Every cell by itself, brought to the output; those `_APART` cells apart together: no pixel is mixed from two.
    turn = torch.arange(cells, device=device) % _APART
    every = (turn == torch.arange(_APART, device=device)[:, None]).float()[None]
    every = F.interpolate(every, scale_factor=float(STRIDE), mode="linear", align_corners=False)[..., :image_length]
    weights = F.interpolate(every, length, mode="linear", align_corners=False)[0].T  # [length, _APART]
    middle = (torch.arange(length, device=device) + 0.5) * (image_length / length / STRIDE)
    around = (middle.int() - _APART // 2)[:, None] + torch.arange(_APART, device=device)
    weights = weights.gather(1, around % _APART)  # of the cells around, in their order
    weights[(around < 0) | (around >= cells)] = 0
    used = weights > 0
    begin, taps = used.int().argmax(dim=1), int(used.sum(dim=1).max())
    first = (around[:, 0] + begin).clamp(0, cells - taps)
    from_first = first - around[:, 0]
    return first, weights.gather(1, (from_first[:, None] + torch.arange(taps, device=device)))
