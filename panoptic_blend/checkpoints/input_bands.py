"""Weights of a network for RGB, for one that reads other bands."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from panoptic_blend.checkpoints.naming import Rules, translate


def extend_bands(
    own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], rules: Rules
) -> tuple[dict[str, Tensor], list[str]]:
    """Let the first convolution of other weights, made for RGB, read as many bands as the model's.

    Bands after red, green and blue get the average of these three's filters, as does every band where there are less
    than three; then all are scaled by 3 / bands. An image whose bands are all alike gives what it gave before.

    Args:
        own: tensors of the model's backbone.
        theirs: tensors of the other weights.
        rules: from our names to theirs.

    Returns:
        `theirs`, with that convolution's weights replaced where it reads another number of bands; and a sentence that
        says so.
    """
    extended, notes = dict(theirs), []
    for name, tensor in own.items():
        foreign = translate(name, rules)
        weight = theirs.get(foreign) if foreign else None
        if foreign is None or weight is None or weight.ndim != 4 or weight.shape[1] != 3:
            continue
        bands = tensor.shape[1]
        if bands == 3 or tensor.shape[:1] + tensor.shape[2:] != weight.shape[:1] + weight.shape[2:]:
            continue
        average = weight.mean(dim=1, keepdim=True)
        kept = weight if bands > 3 else weight[:, :0]
        filters = torch.cat([kept, average.expand(-1, bands - kept.shape[1], -1, -1)], dim=1)
        extended[foreign] = filters * (3 / bands)
        further = "each further band got the average of their filters" if bands > 3 else "each got their average"
        notes.append(
            f"{name} reads {bands} {'band' if bands == 1 else 'bands'} and the weights are for red, green and blue: "
            f"{further}, and all were scaled by 3/{bands}."
        )
    return extended, notes
