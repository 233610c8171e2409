"""Group norms of tiles that take their statistics from the whole picture.

A group norm (Wu and He 2018, eq. 1) divides by what its whole input is like. A tile of sky alone is not like the
picture it is cut from, so that a network with group norms sees other things in it than it sees in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PictureNorm(nn.Module):
    """A group norm whose statistics can be measured over several inputs, and then be those of all.

    A network may ask it several times in each pass, once for every level of a pyramid: each has statistics of its own.

    Args:
        norm: what it takes the place of, with its parameters.
    """

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.norm = norm
        self.calls = 0
        self.measuring = False
        self.sums: dict[int, Tensor] = {}
        self.known: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """[1, C, H, W] -> [1, C, H, W], normalised by what is known of this call, else by itself."""
        call, self.calls = self.calls, self.calls + 1
        groups = self.norm.num_groups
        if self.measuring:
            values = x.reshape(groups, -1).float()
            pixels = torch.tensor(float(values.shape[1]), device=x.device).expand(groups)
            sums = torch.stack([pixels, values.sum(1), values.square().sum(1)]).double()
            self.sums[call] = self.sums.get(call, torch.zeros_like(sums)) + sums
        if call not in self.known:
            return self.norm(x)
        pixels, total, squares = self.known[call]
        mean = total / pixels
        variance = (squares / pixels - mean.square()).clamp(min=0)
        # With statistics that are given, this is a batch norm that is not trained.
        means, variances = (each.float().repeat_interleave(x.shape[1] // groups) for each in (mean, variance))
        weight, bias = self.norm.weight.float(), self.norm.bias.float()
        return F.batch_norm(x, means, variances, weight, bias, eps=self.norm.eps)


def share_norms(network: nn.Module) -> list[PictureNorm]:
    """Let a network's group norms be `PictureNorm`s, in place; these."""
    found = []
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm) and not isinstance(parent, PictureNorm):
                setattr(parent, name, PictureNorm(child))
                found.append(getattr(parent, name))
    return found


def begin_pass(norms: list[PictureNorm]) -> None:
    """The network is about to be run."""
    for norm in norms:
        norm.calls = 0


def forget(norms: list[PictureNorm]) -> None:
    """Let every input be normalised by itself again."""
    for norm in norms:
        norm.known = {}


@contextmanager
def measuring(norms: list[PictureNorm]) -> Iterator[None]:
    """Statistics of all inputs of the block are known when it ends."""
    for norm in norms:
        norm.measuring, norm.sums = True, {}
    yield
    for norm in norms:
        norm.measuring, norm.known = False, norm.sums
