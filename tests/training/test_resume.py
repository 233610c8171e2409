"""A run that is stopped, killed or crashed and then resumed ends with the very bits of one that never stopped."""

from __future__ import annotations

import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from panoptic_blend.checkpoints.native import load_model
from panoptic_blend.cli import main
from panoptic_blend.config import Config
from panoptic_blend.config_files import read_config, write_config
from panoptic_blend.errors import CheckpointError, ConfigError, DatasetError, TrainingStopped
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.training.module import TrainingModule
from panoptic_blend.training.progress import StepLog
from panoptic_blend.training.resume import changed_settings, find_resume_point
from panoptic_blend.training.run import train
from panoptic_blend.training.validation import validate
from tests.training.tiny_run import tiny_config

REPOSITORY = Path(__file__).resolve().parents[2]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def uninterrupted(shapes_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_config(shapes_root, tmp_path_factory.mktemp("uninterrupted")), console=QUIET)


def saved_state(run: Path) -> dict[str, object]:
    state = torch.load(run / "last.ckpt", weights_only=True)
    kept = {name: state[name] for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step")}
    return {**kept, "ours": state["callbacks"]["Milestones"]}


def assert_same(left: object, right: object, where: str = "") -> None:
    if isinstance(left, torch.Tensor):
        assert isinstance(right, torch.Tensor)
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert isinstance(right, dict)
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)):
        assert isinstance(right, (list, tuple))
        assert len(left) == len(right), where
        for index, pair in enumerate(zip(left, right, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    else:
        assert left == right, where


def assert_same_run(run: Path, other: Path) -> None:
    assert_same(saved_state(run), saved_state(other))
    for name in ("last.safetensors", "best.safetensors"):
        assert_same(load_file(run / name), load_file(other / name), name)


def signal_in_pass(monkeypatch: pytest.MonkeyPatch, number: int, first_pass: int, times: int = 1) -> None:
    """Send this process a signal in the middle of a forward pass, counted from 0 over all steps."""
    passes = iter(range(1000))
    original = TrainingModule.training_step

    def training_step(self: TrainingModule, batch, batch_idx):  # type: ignore[no-untyped-def]
        if next(passes) == first_pass:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)


def stop(config: Config, number: int) -> TrainingStopped:
    with pytest.raises(TrainingStopped) as stopped:
        train(config, console=QUIET)
    assert stopped.value.exit_code == 128 + number
    return stopped.value


# Two passes are one step here, and steps 3 and 6 end with a validation.
@pytest.mark.parametrize(
    ("number", "in_pass", "at_step"),
    [(signal.SIGINT, 2, 2), (signal.SIGTERM, 4, 3), (signal.SIGHUP, 9, 5)],
    ids=["ctrl-c in an accumulated pass", "kill before a validation", "terminal lost in a step's last pass"],
)
def test_stopped_and_resumed_equals_uninterrupted(
    number: int,
    in_pass: int,
    at_step: int,
    uninterrupted: Path,
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config(shapes_root, tmp_path / "run")
    with monkeypatch.context() as patched:
        signal_in_pass(patched, number, in_pass)
        stopped = stop(config, number)
    assert f"step {at_step} of 6" in str(stopped)
    assert f"--resume {tmp_path / 'run'}" in str(stopped)
    assert saved_state(tmp_path / "run")["global_step"] == at_step
    load_model(tmp_path / "run")
    assert train(config, resume=tmp_path / "run", console=QUIET) == tmp_path / "run"
    assert_same_run(tmp_path / "run", uninterrupted)


def interrupted_validate(*arguments):  # type: ignore[no-untyped-def]
    os.kill(os.getpid(), signal.SIGTERM)
    return validate(*arguments)


def test_a_stop_during_validation_repeats_it_on_resuming(
    uninterrupted: Path, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(shapes_root, tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr("panoptic_blend.training.callbacks.validate", interrupted_validate)
        stop(config, signal.SIGTERM)
    assert not (tmp_path / "run" / "best.safetensors").exists()
    train(config, resume=tmp_path / "run" / "last.ckpt", console=QUIET)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_stop_during_the_last_validation_is_made_up_for(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(shapes_root, tmp_path / "run", max_steps=2)
    with monkeypatch.context() as patched:
        patched.setattr("panoptic_blend.training.callbacks.validate", interrupted_validate)
        stop(config, signal.SIGTERM)
        assert saved_state(tmp_path / "run")["global_step"] == 2
        with pytest.raises(TrainingStopped):  # once more, while making up for it
            train(config, resume=tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run" / "best.safetensors").exists()
    train(config, resume=tmp_path / "run", console=QUIET)
    whole = train(tiny_config(shapes_root, tmp_path / "whole", max_steps=2), console=QUIET)
    assert_same_run(tmp_path / "run", whole)
    longer = tiny_config(shapes_root, tmp_path / "run", max_steps=3)
    assert saved_state(train(longer, resume=tmp_path / "run", console=QUIET))["global_step"] == 3


def test_what_the_model_draws_is_drawn_again(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = PanopticBlend.forward

    def noisy(self, images, targets):  # type: ignore[no-untyped-def]
        return {name: loss * (0.5 + torch.rand(())) for name, loss in forward(self, images, targets).items()}

    monkeypatch.setattr(PanopticBlend, "forward", noisy)
    whole = train(tiny_config(shapes_root, tmp_path / "whole"), console=QUIET)
    with monkeypatch.context() as patched:
        signal_in_pass(patched, signal.SIGTERM, 5)
        stop(tiny_config(shapes_root, tmp_path / "run"), signal.SIGTERM)
    train(tiny_config(shapes_root, tmp_path / "run"), resume=tmp_path / "run", console=QUIET)
    assert_same_run(tmp_path / "run", whole)


def test_more_signals_while_saving_do_no_harm(
    uninterrupted: Path, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(shapes_root, tmp_path / "run")
    replace = os.replace

    def signalled_replace(source, target):  # type: ignore[no-untyped-def]
        if Path(target).name.startswith("last"):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        replace(source, target)

    with monkeypatch.context() as patched:
        signal_in_pass(patched, signal.SIGTERM, 3, times=2)
        patched.setattr("os.replace", signalled_replace)
        stop(config, signal.SIGTERM)
    train(config, resume=tmp_path / "run", console=QUIET)
    assert_same_run(tmp_path / "run", uninterrupted)


def test_workers_change_nothing(uninterrupted: Path, shapes_root: Path, tmp_path: Path) -> None:
    config = tiny_config(shapes_root, tmp_path / "run")
    config.data.workers = 2
    assert_same_run(train(config, console=QUIET), uninterrupted)


def test_threads_add_up_in_a_fixed_order_while_training(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = PanopticBlend.forward
    fixed = []

    def watched(self, images, targets):  # type: ignore[no-untyped-def]
        fixed.append(torch.are_deterministic_algorithms_enabled())
        return forward(self, images, targets)

    monkeypatch.setattr(PanopticBlend, "forward", watched)
    train(tiny_config(shapes_root, tmp_path / "run", max_steps=1), console=QUIET)
    assert fixed == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("hook", ["configure_optimizers", "on_train_start"], ids=["setting up", "about to begin"])
def test_ctrl_c_before_the_first_step_ends_a_run_as_any_command(
    hook: str, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tiny_config(shapes_root, tmp_path / "run"), tmp_path / "tiny.yaml")
    owner = TrainingModule if hook == "configure_optimizers" else StepLog  # whose hook comes before `RunKeeper`'
    monkeypatch.setattr(owner, hook, lambda *arguments: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        assert main(["train", "--config", str(tmp_path / "tiny.yaml")]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "interrupted\n"


def start_process(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.tiny_run", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.02)


def test_kill_of_a_real_process_saves_and_exits_143(shapes_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_process(shapes_root, run, "--max-steps", 100000, "--checkpoint-every", 1)
    wait_for(run / "last.ckpt", process)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert f"Go on with: panoptic-blend train --resume {run}" in output
    step = saved_state(run)["global_step"]
    assert isinstance(step, int)
    assert f"step {step} of 100000" in output
    train(tiny_config(shapes_root, run, max_steps=step + 1), resume=run, console=QUIET)
    assert saved_state(run)["global_step"] == step + 1


@pytest.mark.slow
def test_kill_9_loses_only_the_steps_since_the_last_save(shapes_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_process(shapes_root, run, "--max-steps", 40, "--checkpoint-every", 2)
    wait_for(run / "last.ckpt", process)
    process.kill()
    process.communicate()
    killed_at = saved_state(run)["global_step"]
    assert isinstance(killed_at, int)
    assert killed_at < 40
    config = tiny_config(shapes_root, run, max_steps=40, checkpoint_every=2)
    train(config, resume=run, console=QUIET)
    whole = train(tiny_config(shapes_root, tmp_path / "whole", max_steps=40), console=QUIET)
    assert_same_run(run, whole)


def test_a_run_never_starts_over_another(uninterrupted: Path, shapes_root: Path) -> None:
    before = (uninterrupted / "last.ckpt").read_bytes()
    with pytest.raises(ConfigError, match=r"already holds a run .*--resume"):
        train(tiny_config(shapes_root, uninterrupted), console=QUIET)
    assert (uninterrupted / "last.ckpt").read_bytes() == before


def test_a_finished_run_has_nothing_to_resume(uninterrupted: Path, shapes_root: Path) -> None:
    before = (uninterrupted / "last.ckpt").read_bytes()
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=300, file=nowhere)
        assert train(tiny_config(shapes_root, uninterrupted), resume=uninterrupted, console=console) == uninterrupted
    assert "Nothing to train" in console.export_text()
    assert (uninterrupted / "last.ckpt").read_bytes() == before


def test_overrides_take_effect_and_are_told(shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        signal_in_pass(patched, signal.SIGTERM, 9)
        stop(tiny_config(shapes_root, run), signal.SIGTERM)
    changed = tiny_config(shapes_root, run, max_steps=10)
    changed.optimizer.lr = 0.5
    changed.optimizer.weight_decay = 0.25
    changed.optimizer.schedule = "poly"
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=300, file=nowhere)
        train(changed, resume=run, console=console)
    text = console.export_text()
    assert "optimizer.lr: 0.02 -> 0.5" in text
    assert "trainer.max_steps: 6 -> 10" in text
    assert "schedule" in text
    state = saved_state(run)
    assert state["global_step"] == 10
    groups = state["optimizer_states"][0]["param_groups"]  # type: ignore[index]
    assert {group["weight_decay"] for group in groups} == {0.25, 0.0}
    assert {group["initial_lr"] for group in groups} == {0.5 * 4 / 16}
    rows = sorted((run / "csv").glob("version_*/metrics.csv"))[-1].read_text().splitlines()
    column = rows[0].split(",").index("lr")
    assert float(rows[1].split(",")[column]) == pytest.approx(0.125 * (1 - 5 / 10) ** 0.9)  # step 6 follows 5 done


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_other_passes_a_step_see_the_same_images_in_the_same_steps(
    accumulate: int, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after one step of two passes, and resumed twice, so that the counts of a resumed run are resumed too."""
    seen: dict[int, list[str]] = {}
    original = TrainingModule.training_step

    def noting(self: TrainingModule, batch, batch_idx):  # type: ignore[no-untyped-def]
        seen.setdefault(self.global_step, []).extend(batch.file_names)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", noting)
    train(tiny_config(shapes_root, tmp_path / "whole", max_steps=4), console=QUIET)
    expected, seen = seen, {}
    run = train(tiny_config(shapes_root, tmp_path / "run", max_steps=1), console=QUIET)
    for max_steps in (3, 4):
        config = tiny_config(shapes_root, run, max_steps=max_steps)
        config.trainer.accumulate = accumulate
        train(config, resume=run, console=QUIET)
    assert seen == expected
    assert saved_state(run)["ours"]["images_seen"] == 4 * 4  # type: ignore[index]


def change_categories(root: Path, change: Callable[[list[dict[str, object]]], object]) -> Path:
    for split in ("train", "val"):
        path = root / "annotations" / f"panoptic_{split}.json"
        content = json.loads(path.read_text())
        change(content["categories"])
        path.write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def begun_and_finished(shapes_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of three steps, and what becomes of it in six."""
    folder = tmp_path_factory.mktemp("resumed")
    begun = train(tiny_config(shapes_root, folder / "begun", max_steps=3), console=QUIET)
    finished = shutil.copytree(begun, folder / "finished")
    train(tiny_config(shapes_root, finished, max_steps=6), resume=finished, console=QUIET)
    return begun, finished


@pytest.mark.parametrize("from_earlier_version", [False, True])
def test_categories_listed_in_another_order_change_nothing(
    begun_and_finished: tuple[Path, Path], shapes_root: Path, tmp_path: Path, from_earlier_version: bool
) -> None:
    begun, finished = begun_and_finished
    run = shutil.copytree(begun, tmp_path / "run")
    if from_earlier_version:
        state = torch.load(run / "last.ckpt", weights_only=True)
        del state["callbacks"]["Milestones"]["categories"]
        torch.save(state, run / "last.ckpt")
    root = change_categories(shutil.copytree(shapes_root, tmp_path / "data"), list.reverse)
    train(tiny_config(root, run, max_steps=6), resume=run, console=QUIET)
    assert_same(saved_state(run), saved_state(finished))


def test_another_category_on_resuming_is_named_with_the_remedy(
    uninterrupted: Path, shapes_root: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(shapes_root, tmp_path / "data")
    change_categories(root, lambda rows: rows.append({"id": 99, "name": "new", "isthing": 1}))
    with pytest.raises(DatasetError) as refused:
        train(tiny_config(root, uninterrupted, max_steps=8), resume=uninterrupted, console=QUIET)
    assert str(refused.value) == (
        f"{root}/annotations/panoptic_train.json: its categories are not those the run began with: category 99 is "
        "absent in the run, 'new' (thing) in the file. Go on with the data it began with, or start a new run from its "
        "weights: --config FILE --init-from RUN."
    )


def test_a_changed_network_is_refused(uninterrupted: Path, shapes_root: Path) -> None:
    config = tiny_config(shapes_root, uninterrupted, max_steps=8)
    config.model.fpn.channels = 32
    with pytest.raises(ConfigError, match=r"keeps its network.*model\.fpn\.channels: 16 -> 32"):
        train(config, resume=uninterrupted, console=QUIET)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("optimizer.name", "adamw", r"optimizer\.name: sgd -> adamw"),
        ("trainer.ema_decay", 0.0, r"trainer\.ema_decay: 0\.8 -> 0\.0"),
        ("model.masks.resolution", 28, r"model\.masks\.resolution: 14 -> 28"),
    ],
)
def test_what_the_state_has_no_place_for_is_refused_and_not_kept(
    setting: str, value: object, message: str, uninterrupted: Path, shapes_root: Path
) -> None:
    config = tiny_config(shapes_root, uninterrupted, max_steps=8)
    *groups, name = setting.split(".")
    setattr(operator.attrgetter(".".join(groups))(config), name, value)
    before = (uninterrupted / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match=f"{message}.*start a new run"):
        train(config, resume=uninterrupted, console=QUIET)
    assert (uninterrupted / "config.yaml").read_bytes() == before


def test_averaging_cannot_begin_in_the_middle_but_its_decay_may_change(shapes_root: Path, tmp_path: Path) -> None:
    before, after = tiny_config(shapes_root, tmp_path), tiny_config(shapes_root, tmp_path)
    before.trainer.ema_decay = 0.0
    with pytest.raises(ConfigError, match=r"trainer\.ema_decay: 0\.0 -> 0\.8"):
        changed_settings(before, after)
    before.trainer.ema_decay = 0.9
    assert changed_settings(before, after) == ["trainer.ema_decay: 0.9 -> 0.8"]


def test_settings_are_kept_only_once_the_state_has_loaded(
    uninterrupted: Path, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(uninterrupted, tmp_path / "run")
    before = (run / "config.yaml").read_bytes()
    config = tiny_config(shapes_root, run, max_steps=7)
    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "on_load_checkpoint", lambda self, checkpoint: checkpoint["does not fit"])
        with pytest.raises(KeyError):
            train(config, resume=run, console=QUIET)
    assert (run / "config.yaml").read_bytes() == before
    train(config, resume=run, console=QUIET)
    assert read_config([run / "config.yaml"]) == config


@pytest.mark.parametrize("content", [b"not a checkpoint", b"PK\x03\x04 broken"])
def test_a_damaged_state_is_named(content: bytes, shapes_root: Path, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: not the saved state of a training run, or damaged"):
        train(tiny_config(shapes_root, tmp_path), resume=tmp_path, console=QUIET)


def test_an_empty_state_is_told(shapes_root: Path, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"last\.ckpt: is empty\. Start from the run's weights"):
        train(tiny_config(shapes_root, tmp_path), resume=tmp_path, console=QUIET)


def test_a_state_with_a_flipped_bit_raises_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"global_step": 3, "callbacks": {"Milestones": {"images_seen": 12}}, "weights": torch.ones(2)}, path)
    whole = path.read_bytes()
    refusals = []
    for at in range(60, 260):  # where the pickle is
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            find_resume_point(path)
        except CheckpointError as error:
            refusals.append(str(error))
    assert refusals
    assert all("last.ckpt" in refusal for refusal in refusals)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


def test_a_hostile_state_is_refused_without_advice_to_trust_it(shapes_root: Path, tmp_path: Path) -> None:
    torch.save({"callbacks": Hostile()}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"refused, because loading it would call \w+\.system") as caught:
        train(tiny_config(shapes_root, tmp_path), resume=tmp_path, console=QUIET)
    assert "weights_only" not in str(caught.value)


def test_a_foreign_state_is_named(shapes_root: Path, tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(2)}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="not the saved state"):
        train(tiny_config(shapes_root, tmp_path), resume=tmp_path, console=QUIET)
    with pytest.raises(CheckpointError, match="no such file"):
        train(tiny_config(shapes_root, tmp_path), resume=tmp_path / "absent", console=QUIET)
