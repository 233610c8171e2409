from __future__ import annotations

import pytest
import torch
from torch import nn

from panoptic_blend.training.optimization import lr_factor, make_optimizer, parameter_groups


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.ModuleDict({"conv": nn.Conv2d(4, 2, 1), "norm": nn.GroupNorm(1, 2)})
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.backbone[0].bias.requires_grad_(False)


def test_every_trainable_parameter_is_in_one_group_with_its_own_rate_and_decay() -> None:
    parts = Parts()
    groups = parameter_groups(parts.named_parameters(), lr=0.5, weight_decay=0.1, backbone_lr_factor=0.2)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}  # type: ignore[attr-defined]
    expected = {
        "backbone.0.weight": (0.1, 0.1),
        "backbone.1.weight": (0.1, 0.0),
        "backbone.1.bias": (0.1, 0.0),
        "head.conv.weight": (0.5, 0.1),
        "head.conv.bias": (0.5, 0.0),
        "head.norm.weight": (0.5, 0.0),
        "head.norm.bias": (0.5, 0.0),
        "scale": (0.5, 0.0),
    }
    named = dict(parts.named_parameters())
    assert {name: found[id(named[name])] for name in expected} == expected
    assert len(found) == len(expected)  # the frozen bias is in none
    assert sum(len(g["params"]) for g in groups) == len(expected)  # type: ignore[arg-type]


def test_groups_without_members_are_left_out() -> None:
    groups = parameter_groups(nn.Conv2d(1, 1, 1, bias=False).named_parameters(), 1.0, 0.1, 1.0)
    assert [group["weight_decay"] for group in groups] == [0.1]


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimizer_by_name(name: str, kind: type) -> None:
    groups = parameter_groups(Parts().named_parameters(), 1.0, 0.1, 1.0)
    optimizer = make_optimizer(name, groups, momentum=0.7)  # type: ignore[arg-type]
    assert type(optimizer) is kind
    if name == "sgd":
        assert {(g["momentum"], g["nesterov"]) for g in optimizer.param_groups} == {(0.7, False)}


def test_warm_up_is_linear_from_a_thousandth() -> None:
    factor = lr_factor("step", max_steps=100, warmup_steps=10, milestones=(0.6667, 0.8889))
    assert [factor(step) for step in (0, 5, 10)] == pytest.approx([0.001, 0.5005, 1.0])


def test_step_schedule_divides_by_ten_at_each_milestone() -> None:
    factor = lr_factor("step", max_steps=90000, warmup_steps=1000, milestones=(0.6667, 0.8889))
    assert [factor(s) for s in (1000, 60002, 60003, 80000, 80001, 89999)] == pytest.approx(
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    )


@pytest.mark.parametrize(("schedule", "at_half"), [("cosine", 0.5), ("poly", 0.5**0.9)], ids=["cosine", "poly"])
def test_smooth_schedules_fall_to_zero(schedule: str, at_half: float) -> None:
    factor = lr_factor(schedule, max_steps=200, warmup_steps=0, milestones=())  # type: ignore[arg-type]
    values = [factor(step) for step in range(202)]
    assert values[0] == 1.0
    assert values[100] == pytest.approx(at_half)
    assert values[200] == values[201] == pytest.approx(0.0, abs=1e-12)
    assert values == sorted(values, reverse=True)
