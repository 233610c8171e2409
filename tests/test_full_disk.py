"""Commands that find no room on the disk say so in a sentence, and finish when they are run again with room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="no such limit")

from tests.at_work import arguments_of, contents, make_place, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands work on."""
    return make_place(tmp_path_factory.mktemp("full"))


@pytest.mark.parametrize(
    "command",
    ["predict", "evaluate", "tune", "score", "report", "check-dataset", "convert-dataset", "convert-back", "export",
     "export-int8", "compare", "train", "suggest-config", "explain", "demo"],
)  # fmt: skip
def test_a_full_disk_is_told_and_the_same_command_finishes_later(command: str, place: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = arguments_of(command, place, output)
    refused = 0
    # A limit of file size stands for the full disk: an early file finds no room, or a late and large one.
    for largest in (100, 1000, 5000, 20_000):
        code, said = run(arguments, largest_file=largest)
        if code == 0:  # nothing is as large
            break
        refused += 1
        assert code == 1, said
        sentence = said.strip().splitlines()[-1]
        assert str(output) in sentence, said
        assert "File too large" in sentence
        assert "Make room" in sentence
        assert "Traceback" not in said
        assert not [name for name in contents(tmp_path) if name.endswith((".tmp", ".lock", ".unfinished"))]
    assert refused
    if code != 0:
        code, said = run(arguments)
        assert code == 0, said
    assert os.listdir(tmp_path) == ["out"] or command == "demo"
