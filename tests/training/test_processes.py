"""Two processes do the work of one: the same score, the same run, stopped and resumed together."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from panoptic_blend.checkpoints.native import load_model
from panoptic_blend.config import TrainerConfig
from panoptic_blend.errors import ConfigError
from panoptic_blend.training.data_module import load_data
from panoptic_blend.training.hardware import choose_accelerator
from panoptic_blend.training.stopping import StopRequest
from panoptic_blend.training.validation import validate
from tests.training.count_in_processes import count
from tests.training.test_resume import REPOSITORY, start_process, wait_for
from tests.training.tiny_run import tiny_config

LOGS = (("csv", "version_*"), ("tensorboard", "events.*"), (".", "curves.png"))


def torchrun(processes: int, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*launcher, "-m", module, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )


def metrics(run: Path) -> list[dict[str, str]]:
    with next((run / "csv").glob("version_*/metrics.csv")).open() as file:
        return list(csv.DictReader(file))


def test_two_processes_count_as_one(shapes_root: Path, tmp_path: Path) -> None:
    one, calls = count(shapes_root, 0, 1)
    assert calls == 3
    assert 0.2 < one.all.pq < 1
    done = torchrun(2, "tests.training.count_in_processes", shapes_root, tmp_path)
    assert done.returncode == 0, done.stdout
    reports = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [report["calls"] for report in reports] == [2, 1]  # three images, none twice
    assert reports[0]["rows"] == reports[1]["rows"]
    for row, (name, tp, fp, fn, iou) in zip(one.per_class, reports[0]["rows"], strict=True):
        assert (row.category.name, row.tp, row.fp, row.fn) == (name, tp, fp, fn)
        assert row.iou == pytest.approx(iou, abs=1e-12)
    assert reports[0]["pq"] == pytest.approx(one.all.pq, abs=1e-12)


@pytest.mark.slow
def test_torchrun_trains_and_scores_like_one_process(shapes_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = torchrun(2, "tests.training.tiny_run", shapes_root, run, "--devices", 2)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Trained 6 steps") == 1  # one process tells
    assert [len(list((run / folder).glob(pattern))) for folder, pattern in LOGS] == [1, 1, 1]  # and one writes
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert state["global_step"] == 6
    assert state["callbacks"]["Milestones"]["images_seen"] == 6 * 4
    scores = [float(row["PQ"]) for row in metrics(run) if row["PQ"]]
    assert len(scores) == 2
    _, samples = load_data(tiny_config(shapes_root, run).data, 0, Console(quiet=True))
    model = load_model(run / "last.safetensors")
    everything = (samples[i] for i in range(len(samples)))
    result = validate(model, everything, torch.device("cpu"), torch.float32, StopRequest())
    assert result is not None
    assert scores[-1] == pytest.approx(100 * result.all.pq)


@pytest.mark.slow
def test_two_processes_stop_together_and_resume(shapes_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--devices", 2, "--checkpoint-every", 1)
    process = start_process(shapes_root, run, *options, "--max-steps", 100000)
    wait_for(run / "last.ckpt", process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 143, output
    assert output.count("Go on with") == 1
    step = torch.load(run / "last.ckpt", weights_only=True)["global_step"]
    done = torchrun(2, "tests.training.tiny_run", shapes_root, run, *options, "--max-steps", step + 2, "--resume", run)
    assert done.returncode == 0, done.stdout
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert state["global_step"] == step + 2
    assert state["callbacks"]["Milestones"]["images_seen"] == 4 * (step + 2)


def test_torchrun_and_settings_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert choose_accelerator(TrainerConfig(accelerator="cpu", devices=2)) == "cpu"
    with pytest.raises(ConfigError, match=r"torchrun started 2 processes, but .* 1 x 1"):
        choose_accelerator(TrainerConfig(accelerator="cpu"))


@pytest.mark.parametrize(
    ("settings", "gpus", "message"),
    [
        (
            TrainerConfig(accelerator="gpu"),
            0,
            r"accelerator is 'gpu', but torch \S+ finds no GPU\. Use 'auto'",
        ),
        (TrainerConfig(devices=2), 1, "this machine shows 1 GPUs"),
        (TrainerConfig(precision="fp16"), 0, "fp16 needs a GPU"),
    ],
)
def test_machine_must_have_what_is_asked_for(
    settings: TrainerConfig, gpus: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=message):
        choose_accelerator(settings)


@pytest.mark.parametrize(("gpus", "expected"), [(0, "cpu"), (1, "gpu")])
def test_auto_takes_a_gpu_when_there_is_one(gpus: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert choose_accelerator(TrainerConfig()) == expected
