"""Commands that are killed at any moment, and run again, leave what an undisturbed run leaves."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load

pytest.importorskip("resource", reason="no such signals")

from tests.at_work import arguments_of, contents, make_place, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

MOMENTS = int(os.environ.get("KILLED_MOMENTS", "20"))
SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
"""What the moments' signals are, and the exit codes that tell of them."""
KEPT = ("predict", "evaluate", "tune", "compare", "train")
"""Commands that go on; the others' results are whole, or not there."""
LEFT_OUT = ("curves.png", "flips.md", "flips.png", "last.ckpt", "progress.jsonl")
"""Files that hold times, or in which order things were done: only their names are compared."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands work on."""
    return make_place(tmp_path_factory.mktemp("killed"))


def comparable(folder: Path) -> dict[str, bytes]:
    """All files; of those with times in them, what must be the same."""
    found = contents(folder)
    for name in list(found):
        if "/csv/version_" in f"/{name}":  # one for each time that a run goes on
            del found[name]
        elif name.endswith(LEFT_OUT):
            found[name] = b""
        elif name.endswith("flips.csv"):
            found[name] = re.sub(rb"(?m)^(\w+,\d+),[\d.]+,", rb"\1,,", found[name])  # milliseconds
        elif name.endswith(".safetensors"):  # whose settings stand in any order
            weights = load(found[name])
            found[name] = b"".join(key.encode() + weights[key].numpy().tobytes() for key in sorted(weights))
    return found


@pytest.mark.parametrize(
    "command",
    [*KEPT, "score", "report", "check-dataset", "convert-dataset", "convert-back", "export", "export-int8", "explain"],
)
def test_a_command_that_is_killed_and_run_again_leaves_what_it_leaves_otherwise(
    command: str, place: Path, tmp_path: Path
) -> None:
    where = tmp_path / "here" / "out"  # one place, as some files name it
    arguments = arguments_of(command, place, where)
    seconds = []
    for _ in range(2):  # the first loads a library or two
        shutil.rmtree(where.parent, ignore_errors=True)
        where.parent.mkdir()
        started = time.monotonic()
        assert run(arguments)[0] == 0
        seconds.append(time.monotonic() - started)
    expected = comparable(where.parent)
    assert expected
    rng = random.Random(int(os.environ.get("KILLED_SEED", "0")))
    stopped = 0
    for _ in range(10 * MOMENTS):
        if stopped >= MOMENTS:
            break
        shutil.rmtree(where.parent)
        where.parent.mkdir()
        for _ in range(2):  # the second time perhaps in the middle of going on
            number = rng.choice([signal.SIGKILL, *SIGNALS])
            before = comparable(where.parent)
            code, said = run(arguments, rng.uniform(0.02, 0.9 * min(seconds)), number)
            if code == 0:
                break
            stopped += 1
            if code != SIGNALS[number]:  # the system's own way: before a command listens, or once it has ended
                assert code == -number, said
                assert comparable(where.parent) in (before, expected)
            assert "Traceback" not in said
            if command not in KEPT and comparable(where.parent) == expected:
                break  # just before the process would have ended
        else:
            code, said = run(arguments)
            assert code == 0, said
        found = comparable(where.parent)
        assert sorted(found) == sorted(expected)
        assert [name for name in expected if found[name] != expected[name]] == []
    assert stopped >= MOMENTS
