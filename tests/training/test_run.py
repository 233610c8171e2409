"""What `train` does around the steps themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from panoptic_blend.config import TrainerConfig
from panoptic_blend.errors import DatasetError, FolderInUseError
from panoptic_blend.files.lock import lock_folder
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
