"""A run over two machines, played by two launchers on this one, and a run whose worker is killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.test_resume import REPOSITORY, assert_same_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TINY = ["-m", "tests.training.tiny_run"]
LAUNCHER = [sys.executable, "-m", "torch.distributed.run"]
STANDALONE = ["--standalone", "--nproc-per-node", 2]


def start(*command: object) -> subprocess.Popen[str]:
    # Else processes that start again may meet addresses of those that died: docs/scale.md.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    words = [*LAUNCHER, *map(str, command)]
    return subprocess.Popen(
        words, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str], fails: bool = False) -> str:
    try:
        said, _ = process.communicate(timeout=900)
    finally:
        process.kill()
    assert (process.returncode != 0) == fails, said
    return said


@pytest.fixture(scope="module")
def one_launcher(shapes_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes of one launcher."""
    run = tmp_path_factory.mktemp("one launcher") / "run"
    finish(start(*STANDALONE, *TINY, shapes_root, run, "--devices", 2))
    return run


def test_two_launchers_train_what_two_processes_of_one_train(one_launcher: Path, shapes_root: Path, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = tmp_path / "run"
    where = ["--nnodes", 2, "--nproc-per-node", 1, "--master-addr", "127.0.0.1", "--master-port", port]
    nodes = [start(*where, "--node-rank", node, *TINY, shapes_root, run, "--nodes", 2) for node in (0, 1)]
    said = [finish(node) for node in nodes]
    assert [text.count("Trained 6 steps") for text in said] == [1, 0]  # one of all processes tells
    assert_same_run(run, one_launcher)


def test_a_worker_that_is_killed_starts_again_to_the_same_weights(
    one_launcher: Path, shapes_root: Path, tmp_path: Path
):
    run = tmp_path / "run"
    options = ["--devices", 2, "--checkpoint-every", 1, "--restartable"]
    launcher = start(*STANDALONE, "--max-restarts", 3, *TINY, shapes_root, run, *options)
    until = time.monotonic() + 600
    while not (run / "last.ckpt").is_file() and time.monotonic() < until and launcher.poll() is None:
        time.sleep(0.01)
    workers = workers_of(launcher.pid)
    os.kill(workers[-1], signal.SIGKILL)
    said = finish(launcher)
    assert "Going on from" in said
    assert said.count("Trained 6 steps") == 1
    assert_same_run(run, one_launcher)


def workers_of(launcher: int) -> list[int]:
    """Its processes, in the order in which they were started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    if not children.is_file():
        pytest.skip("needs Linux's /proc")
    return [int(number) for number in children.read_text().split()]


def test_the_processes_of_a_machine_share_the_check_and_leave_out_the_same(shapes_root: Path, tmp_path: Path):
    data = shutil.copytree(shapes_root, tmp_path / "data")
    (data / "train" / "train_000002.jpg").write_bytes(b"not an image")
    command = [*STANDALONE, *TINY, data, tmp_path / "run", "--devices", 2]
    said = finish(start(*command), fails=True)
    assert "train_000002.jpg: is not an image" in said
    assert not (tmp_path / "run" / "last.ckpt").exists()
    said = finish(start(*command, "--skip-bad-samples"))
    assert said.count("1 of 6 samples left out") == 1
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 6
