"""Commands on a Ray of two workers on this machine: the same files and numbers as of one process, whoever is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
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

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

IMAGES = 80
ON_RAY = ["--engine", "ray", "--workers", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, images of which one cannot be read, and what one process makes of them."""
    root = tmp_path_factory.mktemp("ray")
    torch.manual_seed(0)
    save_model(build_model(talkative_model_config(), SHAPES), root / "model.safetensors")
    (root / "in").mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        noise = Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))
        noise.resize((240, 160)).save(root / "in" / f"{number:03}.jpg")
    (root / "in" / "033.jpg").write_bytes(b"no picture")
    done = run(predict(root, root / "whole"))
    assert done.returncode == 1
    assert_one_failed(done.stderr)
    return root


def predict(place: Path, output: Path, *options: str) -> list[str]:
    model, images = str(place / "model.safetensors"), str(place / "in")
    return ["predict", "--checkpoint", model, "--input", images, "--output", str(output), "--overlays", *options]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "panoptic_blend", *arguments]
    environment = {**os.environ, "RAY_worker_niceness": "0"}  # else they wait for whatever runs beside the tests
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    process = start(arguments)
    return finish(process)


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        said, complained = process.communicate(timeout=600)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, said, complained)


def assert_one_failed(complained: str) -> None:
    assert f"1 of {IMAGES} images failed" in complained, complained
    assert complained.count("033.jpg") == 1


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, hidden ones as well; the journal may know the images in another order."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): b"" if path.suffix == ".jsonl" else path.read_bytes() for path in files}


def assert_whole(place: Path, output: Path) -> None:
    found, expected = contents(output), contents(place / "whole")
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def wait_for_worker(output: Path, process: subprocess.Popen[str]) -> int:
    """The number of a worker's process that is in the middle of a shard."""
    until = time.monotonic() + 400
    while time.monotonic() < until and process.poll() is None:
        for part in output.glob(".parts/*"):
            if list(part.glob("predictions/*.png")) and (part / ".lock").is_file():
                held = re.match(r"process (\d+) on", (part / ".lock").read_text())
                if held:
                    return int(held[1])
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"no worker was met in the middle of a shard: {finish(process)}")


def test_two_workers_leave_what_one_process_leaves_and_do_nothing_twice(place: Path, tmp_path: Path):
    done = run(predict(place, tmp_path / "out", *ON_RAY))
    assert done.returncode == 1
    assert_one_failed(done.stderr)
    assert_whole(place, tmp_path / "out")
    again = run(predict(place, tmp_path / "out", *ON_RAY))
    assert_one_failed(again.stderr)
    assert f"Predicted {IMAGES - 1} of {IMAGES}" in again.stdout
    assert f"{IMAGES - 1} of them in an earlier run" in again.stdout


def test_a_worker_that_is_killed_loses_nothing(place: Path, tmp_path: Path):
    process = start(predict(place, tmp_path / "out", *ON_RAY))
    os.kill(wait_for_worker(tmp_path / "out", process), signal.SIGKILL)
    done = finish(process)
    assert_one_failed(done.stderr)
    assert_whole(place, tmp_path / "out")


@pytest.mark.parametrize(("number", "on_ray"), [(signal.SIGKILL, True), (signal.SIGTERM, False)])
def test_a_driver_that_is_killed_and_started_again_finishes(
    number: signal.Signals, on_ray: bool, place: Path, tmp_path: Path
):
    process = start(predict(place, tmp_path / "out", *ON_RAY))
    wait_for_worker(tmp_path / "out", process)
    process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait()
    else:
        ended = finish(process)
        assert ended.returncode == 143, ended
        assert "The same command goes on" in ended.stdout
    done = run(predict(place, tmp_path / "out", *(ON_RAY if on_ray else [])))
    assert_one_failed(done.stderr)
    earlier = re.search(r"(\d+) of them in an earlier run", done.stdout)
    assert earlier
    assert 0 < int(earlier[1]) < IMAGES - 1
    assert_whole(place, tmp_path / "out")


def test_a_list_of_images_and_a_submission(place: Path, tmp_path: Path):
    shapes = generate_shapes(tmp_path / "shapes", train=1, val=5)
    model, annotations = str(place / "model.safetensors"), str(shapes / "annotations" / "panoptic_val.json")
    arguments = ["predict", "--checkpoint", model, "--input", str(shapes / "val"), "--annotations", annotations]
    for name, options in (("here", []), ("ray", ON_RAY)):
        done = run([*arguments, "--output", str(tmp_path / name), "--coco-submission", "Tiny", *options])
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "here").keys() == contents(tmp_path / "ray").keys()
    for kind in ("*.json", "predictions/*.png"):
        for path in (tmp_path / "here").glob(kind):
            assert path.read_bytes() == (tmp_path / "ray" / path.relative_to(tmp_path / "here")).read_bytes()


@pytest.mark.parametrize("kind", [[], ["--details"]])
def test_scores_are_those_of_one_process(kind: list[str], place: Path, tmp_path: Path):
    shapes = generate_shapes(tmp_path / "shapes", train=1, val=70)
    truth = str(shapes / "annotations" / "panoptic_val.json")
    model = str(place / "model.safetensors")
    predicted = ["predict", "--checkpoint", model, "--input", str(shapes / "val"), "--annotations", truth]
    assert run([*predicted, "--output", str(tmp_path / "out")]).returncode == 0
    files = ["--ground-truth", truth, "--predictions", str(tmp_path / "out" / "predictions.json")]
    for name, options in (("here", ["--workers", "1"]), ("ray", ON_RAY)):
        engine = [] if name == "ray" or kind else ["--engine", "builtin"]
        done = run(["score", *files, *kind, *engine, *options, "--output", str(tmp_path / f"{name}.json")])
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "ray.json").read_bytes() == (tmp_path / "here.json").read_bytes()
    broken = next((tmp_path / "out" / "predictions").iterdir())
    broken.write_bytes(b"no PNG")
    done = run(["score", *files, *kind, *ON_RAY])
    assert done.returncode == 1
    assert broken.name in done.stderr
    assert done.stderr.count("\n") == 1
