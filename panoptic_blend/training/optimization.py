"""Which parameters learn how fast, and how the rate changes from step to step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

Schedule = Literal["step", "cosine", "poly"]


def parameter_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]], lr: float, weight_decay: float, backbone_lr_factor: float
) -> list[dict[str, object]]:
    """Split trainable parameters by part (backbone or not) and by decay (weights of two or more dimensions only).

    Norms' scales, biases and learned scalars are not decayed. Frozen parameters are left out; empty groups too.

    Args:
        named_parameters: of the model; the backbone's carry `backbone` in their dotted name.
        lr: learning rate of everything but the backbone.
        weight_decay: of convolution weights.
        backbone_lr_factor: the backbone learns at lr times this.
    """
    groups: dict[tuple[bool, bool], dict[str, object]] = {}
    members: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for backbone in (False, True):
        for decayed in (True, False):
            members[backbone, decayed] = []
            groups[backbone, decayed] = {
                "params": members[backbone, decayed],
                "lr": lr * backbone_lr_factor if backbone else lr,
                "weight_decay": weight_decay if decayed else 0.0,
            }
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            members["backbone" in name.split("."), parameter.ndim > 1].append(parameter)
    return [group for kind, group in groups.items() if members[kind]]


def make_optimizer(name: Literal["sgd", "adamw"], groups: list[dict[str, object]], momentum: float) -> Optimizer:
    """The optimiser a setting names; `momentum` is SGD's."""
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=momentum)
    return torch.optim.AdamW(groups)


def lr_factor(
    schedule: Schedule, max_steps: int, warmup_steps: int, milestones: Sequence[float]
) -> Callable[[int], float]:
    """The factor on the learning rate for the step that follows `step` finished ones.

    Warm-up is linear from 1 / 1000 (Goyal et al., 2017) and multiplies the schedule, which runs from the first step.

    Args:
        schedule: 'step' divides by 10 at each milestone; 'cosine' and 'poly' (power 0.9) fall to 0 at max_steps.
        max_steps: steps of the whole run.
        warmup_steps: steps until the full rate is reached.
        milestones: shares of max_steps.
    """
    decays = [round(share * max_steps) for share in milestones]

    def factor(step: int) -> float:
        done = min(step / max_steps, 1.0)
        if schedule == "step":
            decay = 0.1 ** sum(step >= milestone for milestone in decays)
        elif schedule == "cosine":
            decay = 0.5 * (1.0 + math.cos(math.pi * done))
        else:
            decay = (1.0 - done) ** 0.9
        if step < warmup_steps:
            decay *= 0.001 + 0.999 * step / warmup_steps
        return decay

    return factor
