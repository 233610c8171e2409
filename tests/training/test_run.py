"""What `train` does around the steps themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from panoptic_blend.config import TrainerConfig
from panoptic_blend.errors import CheckpointError, DatasetError, FolderInUseError
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.modeling.build import build_backbone
from panoptic_blend.training.run import _is_first_process, train
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
    ],
)
def test_one_process_speaks_for_a_run(
    environment: dict[str, str], devices: int, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _is_first_process(TrainerConfig(devices=devices)) == first
