from __future__ import annotations

import pytest
import torch

from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.criterion import criterion
from tests.modeling.test_panoptic_blend import CATEGORIES, scene, training_losses
from tests.tiny import MASK_HEADS, tiny_model_config_with


@pytest.mark.parametrize("head", MASK_HEADS)
def test_masks_of_many_sites_are_computed_in_parts_with_the_same_losses_and_gradients(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [
        scene(64, 96, [(5, 6, 40, 50), (30, 20, 80, 45), (70, 2, 92, 60)]),
        scene(64, 96, []),
        scene(50, 70, [(3, 3, 30, 30)]),
    ]
    seen: list[int] = []
    found = []
    for at_once in (1000, 7):
        monkeypatch.setattr(criterion, "SITES_AT_ONCE", at_once)
        torch.manual_seed(0)
        model = build_model(tiny_model_config_with(head), CATEGORIES)
        seen.clear()
        model.mask_head.register_forward_hook(lambda head, inputs, masks: seen.append(len(masks)))
        losses = training_losses(model, *scenes)
        sum(losses.values(), torch.zeros(())).backward()
        assert max(seen) <= at_once
        found.append((losses, dict(model.named_parameters()), dict(model.named_buffers())))
    assert len(seen) > 4  # the second model's, forward and again for the gradient
    (losses, whole, buffers), (losses_in_parts, in_parts, buffers_in_parts) = found
    for name, loss in losses.items():
        torch.testing.assert_close(losses_in_parts[name], loss, rtol=1e-5, atol=1e-7)
    for name, parameter in whole.items():
        assert parameter.grad is not None
        rounding = max(1e-4 * parameter.grad.abs().max().item(), 1e-6)  # sums are taken in another order
        torch.testing.assert_close(in_parts[name].grad, parameter.grad, rtol=0, atol=rounding)
    assert all(torch.equal(buffers_in_parts[name], buffer) for name, buffer in buffers.items())


def test_dice_losses_stand_beside_the_others_where_they_have_a_weight() -> None:
    def losses(mask_dice: float, semantic_dice: float) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        config = tiny_model_config_with("blender")
        config.masks.dice_weight, config.semantic.dice_weight = mask_dice, semantic_dice
        return training_losses(build_model(config, CATEGORIES), scene(64, 96, [(5, 6, 40, 50)]))

    without, with_both, doubled = losses(0, 0), losses(1, 1), losses(2, 1)
    assert with_both.keys() - without.keys() == {"loss_mask_dice", "loss_sem_dice"}
    assert all(torch.equal(with_both[name], loss) for name, loss in without.items())
    torch.testing.assert_close(doubled["loss_mask_dice"], 2 * with_both["loss_mask_dice"])
    assert all(0 < with_both[name].item() < 1 for name in ("loss_mask_dice", "loss_sem_dice"))
