"""Commands that are killed at any moment, and run again, leave what an uninterrupted run leaves."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.synthetic.shapes import generate_shapes
from tests.tiny import talkative_model_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.skipif(os.name == "nt", reason="no such signal")]

MOMENTS = int(os.environ.get("KILLED_MOMENTS", "20"))
NOT_EQUAL = ("*.html", "manifest.json", "progress.jsonl")
"""Files that name times, or the order in which things were done."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a model, and labels in another format."""
    root = tmp_path_factory.mktemp("killed")
    generate_shapes(root / "shapes", train=2, val=24, seed=0)
    torch.manual_seed(0)
    save_model(build_model(talkative_model_config(), SHAPES), root / "model.safetensors")
    for kind in ("labels", "images"):
        (root / "maps" / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(300):
        labels = np.zeros((120, 160), np.uint8)
        labels[: int(rng.integers(1, 119))] = 1
        Image.fromarray(labels).save(root / "maps" / "labels" / f"{number}.png")
        picture = Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
        picture.save(root / "maps" / "images" / f"{number}.png")
    (root / "names.txt").write_text("0 sky\n1 sea\n")
    return root


def arguments_of(command: str, place: Path, output: Path) -> list[str]:
    """A command of some seconds that writes into a folder."""
    model, shapes = ["--checkpoint", str(place / "model.safetensors")], place / "shapes"
    truth = ["--images", str(shapes / "val"), "--annotations", str(shapes / "annotations" / "panoptic_val.json")]
    where = ["--output", str(output)]
    return {
        "predict": ["predict", *model, "--input", str(shapes / "val"), "--overlays", *where],
        "evaluate": ["evaluate", *model, *truth, "--overlays", "4", *where],
        "export": ["export", *model, "--precision", "int8", "--calibration", str(shapes / "val"), *where],
        "convert-dataset": ["convert-dataset", str(place / "maps"), "--labels", str(place / "names.txt"), *where],
    }[command]


def run(arguments: Sequence[str], seconds: float | None = None) -> int:
    """Run a command, and kill it after so many seconds; its exit code."""
    command = [sys.executable, "-m", "panoptic_blend", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            return process.wait()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones as well; of those that cannot be equal the name alone."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): b"" if any(map(path.match, NOT_EQUAL)) else path.read_bytes() for path in files
    }


@pytest.mark.parametrize("command", ["predict", "evaluate", "convert-dataset", "export"])
def test_a_command_that_is_killed_and_run_again_leaves_what_it_leaves_otherwise(
    command: str, place: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    assert run(arguments_of(command, place, tmp_path / "expected" / "out")) == 0
    seconds = time.monotonic() - started
    expected = contents(tmp_path / "expected")
    random.seed(os.environ.get("KILLED_SEED", "0"))
    interrupted = 0
    for moment in range(MOMENTS):
        where = tmp_path / f"{moment}" / "out"
        where.parent.mkdir()
        arguments = arguments_of(command, place, where)
        for _ in range(2):  # the second time perhaps in the middle of going on
            interrupted += run(arguments, random.uniform(0.3, 1.0) * seconds) != 0
        if not (command in ("convert-dataset", "export") and where.exists()):  # those are whole, or not there
            assert run(arguments) == 0
        found = contents(where.parent)
        assert sorted(found) == sorted(expected)
        assert [name for name in expected if found[name] != expected[name]] == []
        shutil.rmtree(where.parent)
    assert interrupted >= MOMENTS / 2
