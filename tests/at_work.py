"""Commands at work on a few small files: run, killed at some moment, or left without room on the disk."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.config_files import write_config
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.synthetic.shapes import generate_shapes
from tests.tiny import talkative_model_config
from tests.training.tiny_run import tiny_config

_PROCESSES = multiprocessing.get_context("forkserver")
# Each command is a fork of one process that has everything imported: it begins with its work, not with seconds of that.
_PROCESSES.set_forkserver_preload(
    ["tests.at_work"]
    + [
        f"panoptic_blend.{name}"
        for name in (
            "comparison.compare", "convert.formats", "demo", "evaluation.details", "exporting.integers",
            "exporting.onnx_files", "exporting.quantization", "inference.explanation_figure", "inference.tuning",
            "report.dataset_page", "report.prediction_page", "suggestion.suggest",
        )
    ]
)  # fmt: skip

_BEGINS = b"\0"
"""What a process writes first, so that the time until then does not count."""


def make_place(root: Path) -> Path:
    """A data set, a model, its predictions, a training's settings, and labels in another format."""
    generate_shapes(root / "shapes", train=4, val=12, seed=0)
    torch.manual_seed(0)
    save_model(build_model(talkative_model_config(), SHAPES), root / "model.safetensors")
    config = tiny_config(root / "shapes", root / "nowhere", max_steps=4, checkpoint_every=1)
    config.trainer.loggers = ()
    write_config(config, root / "base.yaml")
    (root / "flips.yaml").write_text("title: Flips\nvariants: {none: {data: {flip: 0.0}}, half: {}}\n")
    for kind in ("labels", "images"):
        (root / "maps" / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(100):
        labels = np.zeros((120, 160), np.uint8)
        labels[: int(rng.integers(1, 119))] = 1
        Image.fromarray(labels).save(root / "maps" / "labels" / f"{number}.png")
        picture = Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
        picture.save(root / "maps" / "images" / f"{number}.png")
    (root / "names.txt").write_text("0 sky\n1 sea\n")
    code, said = run(arguments_of("evaluate", root, root / "predicted"))
    assert code == 0, said
    return root


def arguments_of(command: str, place: Path, output: Path) -> list[str]:
    """A command of a few seconds that writes into a folder, or a file in it."""
    model = ["--checkpoint", str(place / "model.safetensors")]
    shapes = place / "shapes"
    predictions = str(place / "predicted" / "predictions.json")
    images, annotations = str(shapes / "val"), str(shapes / "annotations" / "panoptic_val.json")
    truth = ["--images", images, "--annotations", annotations]
    where = ["--output", str(output)]
    base = str(place / "base.yaml")
    return {
        "predict": ["predict", *model, "--input", images, "--overlays", *where],
        "evaluate": ["evaluate", *model, *truth, "--overlays", "4", "--sweep", *where],
        "tune": ["tune", *model, *truth, *where],
        "score": ["score", "--ground-truth", annotations, "--predictions", predictions, "--details", "--workers", "2",
                  "--output", str(output / "scores.json")],
        "report": ["report", str(place / "predicted"), *truth, "--workers", "2", *where],
        "check-dataset": ["check-dataset", annotations, "--workers", "2", *where],
        "export": ["export", *model, *where],
        "export-int8": ["export", *model, "--precision", "int8", "--calibration", images, *where],
        "convert-dataset": ["convert-dataset", str(place / "maps"), "--labels", str(place / "names.txt"),
                            "--workers", "2", *where],
        "convert-back": ["convert-dataset", "--to", "coco-instances", annotations, *where],
        "compare": ["compare", str(place / "flips.yaml"), "--base", base, *where],
        "train": ["train", "--config", base, "--trainer.output", str(output), "--restartable"],
        "suggest-config": ["suggest-config", annotations, "--images", images, "--output", str(output / "mine.yaml")],
        "explain": ["explain", *model, "--input", str(next((shapes / "val").iterdir())), *where],
        "benchmark": ["benchmark", *model, "--size", "64x96", "--output", str(output / "speed.json")],
        "convert-checkpoint": ["convert-checkpoint", "--from", "adelaidet", str(place / "published.pth"),
                               "--output", str(output / "model.safetensors")],
        "doctor": ["doctor"],
        "models": ["models"],
        "serve": ["serve", *model, "--port", "0"],
        "demo": ["demo", "--config", base, "--train-images", "4", "--val-images", "4", *where],
    }[command]  # fmt: skip


def run(
    arguments: Sequence[str],
    kill_after: float | None = None,
    number: int = signal.SIGKILL,
    largest_file: int | None = None,
) -> tuple[int, str]:
    """Run a command; its exit code (-9 after `kill -9`) and what it said on stderr. All its processes have ended then.

    Args:
        kill_after: seconds, after which a command that is still at work gets a signal.
        number: of the signal; Ctrl-C goes to all processes of the command, as a terminal sends it.
        largest_file: bytes, beyond which no file can be written.
    """
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_work, args=(list(arguments), theirs, largest_file))
    process.start()
    theirs.close()
    assert process.pid is not None
    assert os.read(ours.fileno(), 1) == _BEGINS
    if kill_after is not None:
        process.join(kill_after)
        if process.is_alive():
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    said = b""
    while chunk := os.read(ours.fileno(), 2**16):  # until no process is left that could write
        said += chunk
    process.join()
    ours.close()
    assert process.exitcode is not None
    return process.exitcode, said.decode()


def _work(arguments: list[str], stderr: Connection, largest_file: int | None) -> None:
    from panoptic_blend.cli import main

    multiprocessing.set_start_method(None, force=True)  # the command's own processes start as they always do
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    os.write(2, _BEGINS)
    sys.exit(main(arguments))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones as well."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
