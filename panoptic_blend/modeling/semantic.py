"""The stuff branch of Panoptic FPN, and how its logits become a label map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.categories import IGNORE
from panoptic_blend.modeling.layers import conv_norm_relu

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
            merged = merged + head(pyramid[level])
        return merged


def semantic_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy at full resolution, averaged over the pixels that are not ignored.

    Args:
        logits: [B, 1 + S, H / 4, W / 4].
        targets: [B, H, W] int64; 0 = a thing, 1..S = stuff, 255 = ignore.

    Returns:
        Scalar; 0 (with zero gradients) when every pixel is ignored.
    """
    logits = logits.float().contiguous()  # in channels_last, log_softmax would copy the map at full resolution
    logits = F.interpolate(logits, scale_factor=float(STRIDE), mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    return total / (targets != IGNORE).sum().clamp(min=1)


def semantic_labels(logits: Tensor, image_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Most likely class per output pixel: upsample x4, crop the padding, resize, argmax.

    Works through strips of rows, so memory does not grow with classes x pixels.

    Args:
        logits: [C, h, w] at stride 4 of the padded batch.
        image_size: (height, width) of this image in the batch.
        size: (height, width) of the output.

    Returns:
        [height, width] uint8.
    """
    labels = torch.empty(size, dtype=torch.uint8, device=logits.device)
    rows_per_strip = 64
    for start in range(0, size[0], rows_per_strip):
        stop = min(start + rows_per_strip, size[0])
        labels[start:stop] = _upsampled_rows(logits, image_size, size, start, stop).argmax(dim=0)
    return labels


def _upsampled_rows(
    logits: Tensor, image_size: tuple[int, int], size: tuple[int, int], start: int, stop: int
) -> Tensor:
    """Rows start..stop of the resized logits, [C, stop - start, width]."""
    if image_size == size:
        return _rows_times_four(logits, start, stop)[..., : size[1]]
    # Linear interpolation between the two nearest source rows, at pixel centres and clamped at the border.
    scale = image_size[0] / size[0]
    position = (torch.arange(start, stop, device=logits.device, dtype=torch.float32) + 0.5) * scale - 0.5
    position = position.clamp(min=0)
    above = position.long()
    below = (above + 1).clamp(max=image_size[0] - 1)
    first, last = int(above[0]), int(below[-1])
    source = _rows_times_four(logits, first, last + 1)[..., : image_size[1]]
    weight = (position - above)[:, None]
    rows = source[:, above - first] * (1 - weight) + source[:, below - first] * weight
    return F.interpolate(rows[None], (stop - start, size[1]), mode="bilinear", align_corners=False)[0]


def _rows_times_four(logits: Tensor, start: int, stop: int) -> Tensor:
    """Rows start..stop of the logits upsampled x4, computed from just the source rows they depend on."""
    first = max(start // STRIDE - 1, 0)
    last = min((stop - 1) // STRIDE + 2, logits.shape[1])
    upsampled = F.interpolate(
        logits[None, :, first:last].float(), scale_factor=float(STRIDE), mode="bilinear", align_corners=False
    )[0]
    return upsampled[:, start - first * STRIDE : stop - first * STRIDE]
