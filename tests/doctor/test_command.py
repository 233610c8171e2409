from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from panoptic_blend._version import __version__
from panoptic_blend.cli import main


def test_the_command_tells_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PANOPTIC_BLEND_HOME", str(tmp_path))
    (tmp_path / "model").write_bytes(bytes(3_000_000))
    assert main(["doctor", "--quick"]) == 0
    text = capsys.readouterr().out
    told = ("processor: ", "fastest on ", "'auto' takes", "extras:", "downloaded models: 3 MB")
    for words in (f"panoptic-blend {__version__}", *told):
        assert words in text
    assert "predicting" not in text


def test_without_torch_the_rest_is_told() -> None:
    program = """
import sys
sys.modules["torch"] = None
from panoptic_blend.cli import main
sys.exit(main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch is not installed: folders that `export` wrote can be run" in done.stdout
    assert "extras:" in done.stdout
