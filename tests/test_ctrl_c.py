"""Ctrl-C ends every command with one line, at whatever moment it comes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from panoptic_blend.cli import command_names

pytest.importorskip("resource", reason="no such signals")

from tests.at_work import arguments_of, make_place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

STOPPED = (130, -signal.SIGINT)
"""Exit codes, which shells show alike. Python takes the second when the interrupt came while text was run as code."""
MOMENTS = int(os.environ.get("CTRL_C_MOMENTS", "8"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands work on."""
    return make_place(tmp_path_factory.mktemp("stopped"))


def begun(arguments: list[str], output: Path) -> subprocess.Popen[bytes]:
    """A command that listens to signals already, in a group of its own as a terminal's jobs are."""
    where: dict[str, Any] = {"cwd": output, "env": {**os.environ, "TMPDIR": str(output)}}
    process = subprocess.Popen(
        [sys.executable, "-m", "panoptic_blend", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **where,
    )
    listening = 1 << (signal.SIGTERM - 1)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None and not int(status.read_text().split("SigCgt:")[1].split()[0], 16) & listening:
        time.sleep(0.005)
    return process


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells when a process listens to signals")
@pytest.mark.parametrize("command", command_names())
def test_ctrl_c_is_one_line(command: str, place: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if command == "convert-checkpoint":
        recording = torch.load(request.getfixturevalue("shared") / "parity" / "panoptic_r50.pt", weights_only=True)
        torch.save(recording["state_dict"], place / "published.pth")
    arguments = arguments_of(command, place, tmp_path / "out")
    if command == "serve":  # for ever
        seconds = 8.0
    else:
        process = begun(arguments, tmp_path)
        began = time.monotonic()
        said = process.communicate()[1].decode()
        assert process.returncode == 0, said
        seconds = time.monotonic() - began
    rng = random.Random(0)
    stopped = 0
    for turn in range(10 * MOMENTS):
        if stopped >= MOMENTS:
            break
        process = begun(arguments_of(command, place, tmp_path / str(turn)), tmp_path)
        time.sleep(rng.uniform(0, 0.95 * seconds))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=120)[1].decode()
        if command != "serve" and (process.returncode == 0 or (process.returncode, said) == (-signal.SIGINT, "")):
            continue  # it was ready, or Python was cleaning up
        stopped += 1
        assert "Traceback" not in said
        if command == "serve":
            assert (process.returncode, said) in ((0, ""), *((code, "interrupted\n") for code in STOPPED))
            continue
        assert process.returncode in STOPPED, said
        assert said.splitlines()[-1] == "interrupted" or (command in ("train", "compare", "demo") and "stopped" in said)
    assert stopped >= MOMENTS
