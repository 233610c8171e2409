"""A real bash completes commands, options, settings, choices and paths."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from panoptic_blend.cli import command_names, main
from panoptic_blend.commands.completion import SHELLS, WITH_PREDICTION_SETTINGS, WITH_SETTINGS

pytest.importorskip("shtab")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "panoptic-blend"
    program = [sys.executable, "-m", "panoptic_blend", "--print-completion", "bash"]
    path.write_text(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    return path


def complete(script: Path, folder: Path, *words: str) -> set[str]:
    """What bash offers after these words, the last of which is unfinished."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    program = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$(complete -p panoptic-blend | sed 's/.*-F \\([^ ]*\\) .*/\\1/') panoptic-blend "${@: -1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    arguments = ["bash", "-c", program, "bash", str(script), "panoptic-blend", *words]
    found = subprocess.run(arguments, capture_output=True, text=True, cwd=folder)
    assert not found.stderr
    return set(found.stdout.split())


def test_commands_and_their_options_are_completed(script: Path, tmp_path: Path) -> None:
    assert complete(script, tmp_path, "") >= set(command_names())
    assert complete(script, tmp_path, "ben") == {"benchmark"}
    assert complete(script, tmp_path, "predict", "--overw") == {"--overwrite"}
    assert complete(script, tmp_path, "predict", "--checkpoint", "x", "--off") == {"--offline"}
    assert complete(script, tmp_path, "benchmark", "--precision", "") == {"auto", "fp32", "bf16"}


def test_settings_are_completed_where_they_are_taken(script: Path, tmp_path: Path) -> None:
    assert complete(script, tmp_path, "train", "--trainer.max_s") == {"--trainer.max_steps"}
    assert complete(script, tmp_path, "predict", "--model.merge.min_sc") == {"--model.merge.min_score"}
    assert complete(script, tmp_path, "predict", "--trainer.max_s") == set()


def test_paths_are_completed(script: Path, tmp_path: Path) -> None:
    (tmp_path / "panoptic_val.json").touch()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "mine.yaml").touch()
    for words in (
        ["train", "--config"],
        ["demo", "--config"],
        ["benchmark", "--config"],
        ["compare"],
        ["compare", "--base"],
    ):
        assert "mine.yaml" in complete(script, tmp_path, *words, "mi"), words
    assert "pictures" in complete(script, tmp_path, "predict", "--input", "pic")
    assert "panoptic_val.json" in complete(script, tmp_path, "evaluate", "--annotations", "pan")
    assert complete(script, tmp_path, "evaluate", "--images", "p") == {"pictures"}


def test_settings_are_offered_by_the_commands_that_read_them() -> None:
    for name in command_names():
        module = import_module(f"panoptic_blend.commands.{name.replace('-', '_')}")
        assert (name in WITH_SETTINGS) == hasattr(module, "parse_with_settings")
        assert (name in WITH_PREDICTION_SETTINGS) == hasattr(module, "parse_with_prediction_settings")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-completion", shell]) == 0
    assert "suggest-config" in capsys.readouterr().out


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-completion", "cmd"]) == 2
    assert "choose from" in capsys.readouterr().err


def test_without_shtab_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    assert "pip install 'panoptic-blend[completion]'" in capsys.readouterr().err
