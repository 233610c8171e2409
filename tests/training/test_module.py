from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console

from panoptic_blend.errors import TrainingError
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.training.module import TrainingModule
from panoptic_blend.training.run import train
from tests.training.tiny_run import tiny_config

QUIET = Console(quiet=True)


def test_a_loss_that_is_not_finite_names_images_and_terms_and_keeps_the_last_state(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = PanopticBlend.forward
    passes = iter(range(100))

    def broken(self, images, targets):  # type: ignore[no-untyped-def]
        losses = forward(self, images, targets)
        return {**losses, "loss_mask": losses["loss_mask"] * float("nan")} if next(passes) == 6 else losses

    monkeypatch.setattr(PanopticBlend, "forward", broken)
    with pytest.raises(TrainingError) as failure:
        train(tiny_config(shapes_root, tmp_path / "run", checkpoint_every=1), console=QUIET)
    message = str(failure.value)
    assert "not finite at step 4" in message
    assert "loss_mask nan" in message
    assert "loss_fcos_cls" in message
    assert message.count("train_00000") == 2  # the batch's two images
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())


def test_weights_that_are_not_finite_are_never_saved(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainingModule.optimizer_step

    def poisoned(self, *arguments):  # type: ignore[no-untyped-def]
        step(self, *arguments)
        if self.global_step >= 1:
            next(self.model.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(TrainingModule, "optimizer_step", poisoned)
    with pytest.raises(TrainingError, match="after step 2 the weights are not finite"):
        train(tiny_config(shapes_root, tmp_path / "run", checkpoint_every=1), console=QUIET)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 1


def test_the_average_follows_the_weights_by_its_decay(shapes_root: Path, tmp_path: Path) -> None:
    """e_1 = w_1 and e_n = d e_{n-1} + (1 - d) w_n, read off the states saved after each step."""
    states = []
    run = tmp_path / "run"
    for steps in (1, 2, 3):
        config = tiny_config(shapes_root, run, max_steps=steps)
        config.optimizer.schedule = "step"  # the same rates however long the run is
        config.optimizer.milestones = ()
        train(config, resume=run if steps > 1 else None, console=QUIET)
        states.append(torch.load(run / "last.ckpt", weights_only=True)["state_dict"])
    weights = {name.removeprefix("model."): value for name, value in states[0].items() if name.startswith("model.")}
    for name, first in weights.items():
        if not first.is_floating_point():
            continue
        expected = first
        for seen, state in enumerate(states[1:], start=1):
            decay = min(0.8, (1 + seen) / (10 + seen))
            expected = decay * expected + (1 - decay) * state[f"model.{name}"]
        torch.testing.assert_close(states[2][f"averaged.module.{name}"], expected)
    assert any(not torch.equal(states[2][f"model.{n}"], states[2][f"averaged.module.{n}"]) for n in weights)


def test_clipping_and_batch_size_reach_the_optimizer(shapes_root: Path, tmp_path: Path) -> None:
    """One step of plain SGD from the same weights moves them by lr x batch / reference x clipped gradient."""
    config = tiny_config(shapes_root, tmp_path / "run", max_steps=1)
    config.optimizer.warmup_steps = 0
    config.optimizer.schedule = "step"
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 1e-3
    config.trainer.ema_decay = 0.0
    before: dict[str, torch.Tensor] = {}
    configure = TrainingModule.configure_optimizers

    def remembering(self):  # type: ignore[no-untyped-def]
        before.update({name: value.clone() for name, value in self.model.named_parameters()})
        return configure(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainingModule, "configure_optimizers", remembering)
        train(config, console=QUIET)
    after = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    moved = torch.stack([(after[f"model.{name}"].double() - value.double()).norm() for name, value in before.items()])
    # float32 weights near 1 hide part of so small a step, hence the tolerance.
    assert moved.norm().item() == pytest.approx(0.02 * 4 / 16 * 1e-3, rel=2e-2)
