"""The command: starts, says where, finishes what waits, and ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.cli import main
from panoptic_blend.commands.serve import _names
from tests.inference.test_explain import talkative_model
from tests.serving.pictures import encode, pixels


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_model(talkative_model("blender"), tmp_path / "toys.safetensors")
    return tmp_path / "toys.safetensors"


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to obey")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_waits(checkpoint: Path, tmp_path: Path, number: signal.Signals):
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-m", "panoptic_blend", "serve", "--checkpoint", str(checkpoint), "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        found = re.fullmatch(r"Serving toys at http://127\.0\.0\.1:(\d+) until Ctrl-C\.\n", said)
        assert found, said
        port, picture = int(found[1]), encode(pixels(0, 600, 800), "JPEG")
        with ThreadPoolExecutor(5) as clients:
            asked = [clients.submit(ask, port, "POST", "/predict", picture) for _ in range(5)]
            while json.loads(ask(port, "GET", "/health")[1])["waiting"] < 4:  # one at work, and four
                assert not all(each.done() for each in asked)
            server.send_signal(number)
            assert [each.result()[0] for each in asked] == [200] * 5
        assert server.wait(timeout=60) == 0
        assert server.stdout.read() == "Stopped.\n"
        assert server.stderr is not None
        assert server.stderr.read() == ""
    finally:
        server.kill()
        server.communicate()
    assert sorted(tmp_path.iterdir()) == before, "no file is written"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "65536"], "65536"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
        (["--host", "no-such-host.invalid"], "no-such-host.invalid"),
        (["--token", "two words"], "--token"),
        (["--queue", "0"], "'0'"),
        (["--por", "1"], "--port"),
    ],
)
def test_wrong_options(checkpoint: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str):
    assert main(["serve", "--checkpoint", str(checkpoint), *options]) == 2
    assert says in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--checkpoint", str(tmp_path / "nothing"), "--port", "0"]) == 1
    assert "nothing" in capsys.readouterr().err


def test_models_are_told_apart_by_name():
    paths = [Path("runs/a"), Path("runs/b/best.safetensors"), Path("old/best.safetensors"), Path("runs/v1.2")]
    assert _names(paths) == ["a", "best 1", "best 2", "v1.2"]
