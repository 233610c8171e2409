from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.categories import IGNORE
from panoptic_blend.modeling.criterion import semantic_loss as module
from panoptic_blend.modeling.criterion.semantic_loss import semantic_dice_loss, semantic_loss


def test_loss_averages_over_pixels_that_are_not_ignored() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(1, 3, 2, 2), torch.randint(0, 3, (1, 8, 8))
    targets[0, :3] = IGNORE
    upsampled = F.interpolate(logits, (8, 8), mode="bilinear", align_corners=False).log_softmax(1)
    terms = [-upsampled[0, targets[0, y, x], y, x] for y in range(3, 8) for x in range(8)]
    torch.testing.assert_close(semantic_loss(logits, targets), torch.stack(terms).mean())


@pytest.mark.parametrize("classes", [5, 20])
@pytest.mark.parametrize("most_columns", [1, 4, 256])
@pytest.mark.parametrize("at_once", [1, 10_000, 10**9])
def test_loss_and_gradient_are_those_of_the_whole_upsampled_map(
    at_once: int, most_columns: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOGITS_AT_ONCE", at_once)
    monkeypatch.setattr(module, "_MOST_COLUMNS", most_columns)
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 21, 6, requires_grad=True)
    targets = torch.randint(0, classes, (2, 84, 24))
    targets[torch.rand(targets.shape) < 0.3] = IGNORE
    upsampled = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    expected = F.cross_entropy(upsampled, targets, ignore_index=IGNORE)
    (expected_gradient,) = torch.autograd.grad(3 * expected, logits)
    loss = semantic_loss(logits, targets)
    (gradient,) = torch.autograd.grad(3 * loss, logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("classes", [5, 20])
@pytest.mark.parametrize("most_columns", [1, 4, 256])
@pytest.mark.parametrize("at_once", [1, 10_000, 10**9])
def test_dice_and_gradient_are_those_of_the_whole_upsampled_map(
    at_once: int, most_columns: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOGITS_AT_ONCE", at_once)
    monkeypatch.setattr(module, "_MOST_COLUMNS", most_columns)
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 21, 6, requires_grad=True)
    targets = torch.randint(0, 4, (2, 84, 24))  # the others are in no image, and so in no mean
    targets[torch.rand(targets.shape) < 0.3] = IGNORE
    upsampled = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False).softmax(dim=1)
    counted = targets != IGNORE
    terms = []
    for label in range(4):
        predicted, true = upsampled[:, label][counted], (targets[counted] == label).float()
        terms.append(1 - 2 * (predicted * true).sum() / (predicted.sum() + true.sum()))
    expected = torch.stack(terms).mean()
    (expected_gradient,) = torch.autograd.grad(3 * expected, logits)
    loss = semantic_dice_loss(logits, targets)
    (gradient,) = torch.autograd.grad(3 * loss, logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("classes", [5, 20])
@pytest.mark.parametrize("loss_of", [semantic_loss, semantic_dice_loss])
def test_a_step_in_bf16_rounds_nothing_here(loss_of: Callable[[Tensor, Tensor], Tensor], classes: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 21, 6, requires_grad=True)
    targets = torch.randint(0, classes, (2, 84, 24))
    expected = loss_of(logits, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(logits, targets)
    assert loss == expected
    assert torch.equal(torch.autograd.grad(loss, logits)[0], torch.autograd.grad(expected, logits)[0])


@pytest.mark.parametrize("loss_of", [semantic_loss, semantic_dice_loss])
def test_gradients_of_two_processes_average_to_those_of_one(
    loss_of: Callable[[Tensor, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 3, 6, 6, requires_grad=True), torch.randint(0, 3, (2, 24, 24))
    targets[1, 3:] = IGNORE
    (expected,) = torch.autograd.grad(loss_of(logits, targets), logits)
    seen: list[Tensor] = []  # what each process brings to the average, in its turn

    def note(value: Tensor) -> Tensor:
        seen.append(value.float())
        return value

    monkeypatch.setattr(module, "mean_over_processes", note)
    for picture in range(2):
        loss_of(logits[picture : picture + 1], targets[picture : picture + 1])
    monkeypatch.setattr(module, "mean_over_processes", lambda value: (seen[0] + seen[1]) / 2)
    losses = [loss_of(logits[picture : picture + 1], targets[picture : picture + 1]) for picture in range(2)]
    (found,) = torch.autograd.grad(sum(losses) / 2, logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("classes", [2, 20])
def test_dice_of_a_large_picture_is_right_when_it_is_small(classes: int) -> None:
    torch.manual_seed(0)
    targets = torch.randint(0, classes, (1, 8, 16)).repeat_interleave(64, 1).repeat_interleave(64, 2)
    logits = 8.0 * F.one_hot(targets[:, 2::4, 2::4], classes).permute(0, 3, 1, 2)
    probability = F.interpolate(logits.double(), scale_factor=4, mode="bilinear", align_corners=False).softmax(dim=1)
    terms = []
    for label in targets.unique():
        true = (targets == label).double()
        terms.append(1 - 2 * (probability[:, label] * true).sum() / (probability[:, label].sum() + true.sum()))
    torch.testing.assert_close(
        semantic_dice_loss(logits, targets).double(), torch.stack(terms).mean(), rtol=0.02, atol=0
    )


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_loss_without_gradients(mode: type, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = torch.randn(2, 5, 21, 6, requires_grad=True), torch.randint(0, 5, (2, 84, 24))
    expected = semantic_loss(logits, targets)
    monkeypatch.setattr(torch.autograd, "grad", lambda *_: pytest.fail("no gradient is wanted"))
    with mode():
        loss = semantic_loss(logits, targets)
    assert loss == expected
    assert not loss.requires_grad


@pytest.mark.parametrize("loss_of", [semantic_loss, semantic_dice_loss])
def test_an_image_of_void_costs_nothing_and_is_not_nan(loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = loss_of(logits, torch.full((1, 8, 8), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
