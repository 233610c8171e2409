from __future__ import annotations

import math

import pytest
import torch

from panoptic_blend.modeling.criterion.losses import (
    box_loss,
    centerness_loss,
    classification_loss,
    mask_dice_loss,
    mask_loss,
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_classification_loss_is_the_focal_formula_summed_over_positives() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3), torch.tensor([0, -1, 2, -1, 1])
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        for index, logit in enumerate(row):
            p = sigmoid(logit)
            total += -0.25 * (1 - p) ** 2 * math.log(p) if index == label else -0.75 * p**2 * math.log(1 - p)
    actual = classification_loss(logits, labels, torch.tensor(3.0), alpha=0.25, gamma=2.0)
    assert actual.item() == pytest.approx(total / 3, rel=1e-5)


def test_box_loss_is_one_minus_smoothed_giou_weighted() -> None:
    torch.manual_seed(0)
    predicted, target, weight = torch.rand(6, 4) * 4, torch.rand(6, 4) * 4 + 0.1, torch.rand(6)
    total = 0.0
    for (l1, t1, r1, b1), (l2, t2, r2, b2), w in zip(predicted.tolist(), target.tolist(), weight.tolist(), strict=True):
        intersection = (min(l1, l2) + min(r1, r2)) * (min(t1, t2) + min(b1, b2))
        union = (l1 + r1) * (t1 + b1) + (l2 + r2) * (t2 + b2) - intersection
        hull = (max(l1, l2) + max(r1, r2)) * (max(t1, t2) + max(b1, b2))
        total += w * (1 - ((intersection + 1) / (union + 1) - (hull - union) / hull))
    assert box_loss(predicted, target, weight, torch.tensor(2.5)).item() == pytest.approx(total / 2.5, rel=1e-5)


def test_a_perfect_box_costs_nothing() -> None:
    target = torch.rand(3, 4) + 0.1
    assert box_loss(target, target, torch.ones(3), torch.tensor(3.0)).item() == pytest.approx(0, abs=1e-6)


def test_centerness_loss_is_cross_entropy_over_positives() -> None:
    logits, targets = torch.tensor([0.3, -1.2]), torch.tensor([0.9, 0.1])
    expected = sum(
        -t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x))
        for x, t in zip(logits.tolist(), targets.tolist(), strict=True)
    )
    assert centerness_loss(logits, targets, torch.tensor(2.0)).item() == pytest.approx(expected / 2, rel=1e-5)


def test_mask_loss_is_a_weighted_mean_per_location() -> None:
    torch.manual_seed(0)
    logits, targets, weight = torch.randn(3, 2, 2), torch.rand(3, 2, 2).round(), torch.rand(3)
    total = 0.0
    for n in range(3):
        cells = [
            -math.log(sigmoid(x)) if t else -math.log(1 - sigmoid(x))
            for x, t in zip(logits[n].flatten().tolist(), targets[n].flatten().tolist(), strict=True)
        ]
        total += weight[n].item() * sum(cells) / 4
    assert mask_loss(logits, targets, weight, torch.tensor(1.7)).item() == pytest.approx(total / 1.7, rel=1e-5)


def test_mask_dice_loss_is_a_weighted_mean_per_location() -> None:
    torch.manual_seed(0)
    logits, targets, weight = torch.randn(3, 2, 2), torch.rand(3, 2, 2).round(), torch.rand(3)
    targets[2] = 0  # a true mask without a cell costs all and is no division by zero
    total = 0.0
    for n in range(3):
        pairs = list(
            zip([sigmoid(x) for x in logits[n].flatten().tolist()], targets[n].flatten().tolist(), strict=True)
        )
        dice = 2 * sum(p * t for p, t in pairs) / (sum(p * p for p, _ in pairs) + sum(t * t for _, t in pairs))
        total += weight[n].item() * (1 - dice)
    actual = mask_dice_loss(logits, targets, weight, torch.tensor(1.7))
    assert actual.item() == pytest.approx(total / 1.7, rel=1e-5)
