"""What `train` does around the steps themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn

from panoptic_blend.config import Config, TrainerConfig
from panoptic_blend.config_files import read_config, write_config
from panoptic_blend.errors import CheckpointError, DatasetError, FolderInUseError
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.modeling.build import build_backbone
from panoptic_blend.training.hardware import is_first_process, settle_precision
from panoptic_blend.training.run import train
from tests.training.tiny_run import tiny_config

QUIET = Console(quiet=True)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_folder_has_one_run_at_a_time_from_before_data_are_read(resumed: bool, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = tiny_config(tmp_path / "no data", run)
    with lock_folder(run):
        (run / "last.ckpt").touch()
        with pytest.raises(FolderInUseError, match=r"run: another command is writing here \(process \d+ on "):
            train(config, resume=run if resumed else None, console=QUIET)


def test_a_run_that_failed_leaves_its_folder_free(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "no data", tmp_path / "run")
    for _ in range(2):
        with pytest.raises(DatasetError, match="no data"):
            train(config, console=QUIET)


def test_a_new_run_alone_loads_what_the_backbone_s_setting_names(shapes_root: Path, tmp_path: Path) -> None:
    config = tiny_config(shapes_root, tmp_path / "run", max_steps=1, checkpoint_every=1)
    save_file(build_backbone(config.model.backbone).state_dict(), tmp_path / "backbone.safetensors")
    config.model.backbone.weights = str(tmp_path / "backbone.safetensors")
    config.optimizer.backbone_lr_factor = 0.0  # so that the weights stay what they were at the start
    run = train(config, console=QUIET)
    trained, given = load_file(run / "last.safetensors"), load_file(tmp_path / "backbone.safetensors")
    assert torch.equal(trained["network.backbone.conv1.weight"], given["conv1.weight"])
    (tmp_path / "backbone.safetensors").unlink()
    config.trainer.max_steps = 2
    assert train(config, resume=run, console=QUIET) == run
    config.trainer.output = str(tmp_path / "second")
    assert train(config, init_from=run, console=QUIET) == tmp_path / "second"
    config.trainer.output = str(tmp_path / "third")
    with pytest.raises(CheckpointError, match=r"no file .*backbone\.safetensors"):
        train(config, console=QUIET)


@pytest.mark.parametrize(
    ("environment", "devices", "first"),
    [
        ({}, 2, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, 2, True),
        ({"RANK": "8", "LOCAL_RANK": "0"}, 2, False),
        ({"LOCAL_RANK": "1"}, 2, False),
        ({"NODE_RANK": "1"}, 2, False),
        ({"SLURM_PROCID": "3"}, 4, False),
        ({"SLURM_PROCID": "3"}, 1, True),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "1"}, 8, True),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "4", "LOCAL_RANK": "0", "SLURM_PROCID": "0"}, 8, False),
    ],
)
def test_one_process_speaks_for_a_run(
    environment: dict[str, str], devices: int, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process(TrainerConfig(devices=devices)) == first


def processor(bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another processor in this machine's place."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bf16}, raising=False)


@pytest.mark.parametrize("bf16", [False, True])
def test_auto_is_settled_and_recorded(
    bf16: bool, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(bf16, monkeypatch)
    config = tiny_config(shapes_root, tmp_path, max_steps=1)
    config.trainer.precision = "auto"
    train(config, console=QUIET)
    assert read_config(tmp_path / "config.yaml").trainer.precision == ("bf16" if bf16 else "fp32")
    assert config.trainer.precision == "auto"


@pytest.mark.parametrize(("begun", "asked", "settled"), [("fp32", "auto", "fp32"), ("bf16", "fp32", "fp32")])
def test_a_resumed_run_keeps_its_precision_unless_told(
    begun: Literal["fp32", "bf16"],
    asked: Literal["auto", "fp32"],
    settled: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor(True, monkeypatch)  # where 'auto' alone means bf16
    write_config(Config(trainer=TrainerConfig(precision=begun)), tmp_path / "config.yaml")
    asked_for = Config(trainer=TrainerConfig(precision=asked))
    assert settle_precision(asked_for, "cpu", tmp_path / "config.yaml").trainer.precision == settled
    assert settle_precision(Config(), "cpu").trainer.precision == "bf16"


def test_a_run_that_keeps_bf16_on_a_processor_without_it_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    processor(False, monkeypatch)
    write_config(Config(trainer=TrainerConfig(precision="bf16")), tmp_path / "config.yaml")
    assert settle_precision(Config(), "cpu", tmp_path / "config.yaml").trainer.precision == "bf16"
    assert "ten times as long as fp32" in caplog.text


def test_without_a_compiler_a_run_trains_uncompiled_and_says_so(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_late(function: object, **options: object) -> Callable[..., object]:
        def fail(*arguments: object) -> object:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

        return fail

    monkeypatch.setattr(torch, "compile", compile_late)
    monkeypatch.setattr(nn.Module, "compile", lambda self: pytest.fail("compiles without a compiler"))
    config = tiny_config(shapes_root, tmp_path, max_steps=1)
    config.trainer.compile = True
    train(config, console=QUIET)
    assert "the network runs uncompiled" in caplog.text
