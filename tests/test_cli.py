"""The command line, mostly in this process; once as a process of its own."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import panoptic_blend as pb
from panoptic_blend.cli import main
from panoptic_blend.commands.parsing import Parser, parse
from panoptic_blend.config_files import read_config, write_config
from panoptic_blend.demo import _free_folder
from panoptic_blend.errors import ConfigError
from tests.training.tiny_run import tiny_config


@pytest.fixture(scope="module")
def settings(shapes_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML file for a run of two steps."""
    folder = tmp_path_factory.mktemp("cli")
    config = tiny_config(shapes_root, folder / "run", max_steps=2)
    config.model.merge.min_score = 0.0  # so that even two steps of training predict instances
    config.model.fcos.score_threshold = 0.0
    config.model.merge.min_stuff_area = 0
    write_config(config, folder / "tiny.yaml")
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def run(settings: Path) -> Path:
    """The run those settings give, trained by the command."""
    assert main(["train", "--config", str(settings), "--on-bad-sample", "skip"]) == 0
    return settings.parent / "run"


@pytest.fixture(scope="module")
def evaluated(run: Path, shapes_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of `evaluate` on the validation images."""
    output = tmp_path_factory.mktemp("evaluated")
    truth = shapes_root / "annotations" / "panoptic_val.json"
    arguments = ["--checkpoint", str(run), "--images", str(shapes_root / "val"), "--annotations", str(truth)]
    options = ["--output", str(output), "--overlays", "2", "--batch", "2", "--details"]
    assert main(["evaluate", *arguments, *options]) == 0
    return output


def test_thresholds_can_be_set_where_one_predicts(run: Path, evaluated: Path, shapes_root: Path, tmp_path: Path):
    def segments(folder: Path) -> list[dict]:
        rows = json.loads((folder / "predictions.json").read_text())["annotations"]
        return [segment for row in rows for segment in row["segments_info"]]

    none = ["--checkpoint", str(run), "--model.merge.min_score", "1", "--model.merge.min_stuff_area=1000000"]
    images, truth = str(shapes_root / "val"), str(shapes_root / "annotations" / "panoptic_val.json")
    assert segments(evaluated)
    output = str(tmp_path / "evaluated")
    assert main(["evaluate", *none, "--images", images, "--annotations", truth, "--output", output]) == 0
    assert not segments(tmp_path / "evaluated")
    assert main(["predict", *none, "--input", images, "--output", str(tmp_path / "predicted")]) == 0
    assert not segments(tmp_path / "predicted")


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain", "benchmark"])
def test_settings_of_training_are_refused_where_one_predicts(command: str, run: Path, tmp_path: Path, capsys):
    required = {
        "predict": ["--input", str(tmp_path), "--output", str(tmp_path)],
        "evaluate": ["--images", str(tmp_path), "--annotations", "none.json", "--output", str(tmp_path)],
        "explain": ["--input", "none.png", "--output", str(tmp_path)],
        "benchmark": [],
    }
    assert main([command, "--checkpoint", str(run), *required[command], "--optimizer.lr", "0.1"]) == 2
    assert "--optimizer.lr belongs to training" in capsys.readouterr().err


def test_train_writes_the_settings_it_used(run: Path):
    config = read_config([run / "config.yaml"])
    assert config.trainer.max_steps == 2
    assert config.data.on_bad_sample == "skip"


def test_resume_without_a_config_takes_the_runs_own(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--resume", str(run)]) == 0
    assert "Nothing to train" in capsys.readouterr().out


def test_a_new_run_never_replaces_an_old_one(run: Path, settings: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--config", str(settings)]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_evaluate_writes_predictions_metrics_and_overlays(evaluated: Path):
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert {"PQ", "SQ", "RQ", "PQ_th", "PQ_st", "per_class", "mask_ap", "semantic"} <= metrics.keys()
    rows = json.loads((evaluated / "predictions.json").read_text())["annotations"]
    assert all((evaluated / "predictions" / row["file_name"]).is_file() for row in rows)
    assert len(rows) == 3
    assert all(row["segments_info"] for row in rows)
    assert len(list((evaluated / "overlays").iterdir())) == 2


@pytest.mark.parametrize("engine", ["builtin", "panopticapi"])
def test_score_finds_what_evaluate_found(
    evaluated: Path, shapes_root: Path, engine: str, capsys: pytest.CaptureFixture[str]
):
    if engine == "panopticapi":
        pytest.importorskip("panopticapi")
    truth = str(shapes_root / "annotations" / "panoptic_val.json")
    predictions, output = str(evaluated / "predictions.json"), evaluated / f"{engine}.json"
    arguments = ["--ground-truth", truth, "--predictions", predictions, "--output", str(output), "--engine", engine]
    assert main(["score", *arguments]) == 0
    expected, found = (json.loads(path.read_text()) for path in (evaluated / "metrics.json", output))
    assert found["per_class"].keys() == expected["per_class"].keys()
    assert found["PQ"] == pytest.approx(expected["PQ"], abs=1e-10)
    for name, row in found["per_class"].items():
        assert row == pytest.approx(expected["per_class"][name], abs=1e-10)
    assert "Panoptic quality" in capsys.readouterr().out


def test_score_with_details_finds_all_that_evaluate_found_but_what_needs_detections(evaluated: Path, shapes_root: Path):
    truth, output = shapes_root / "annotations" / "panoptic_val.json", evaluated / "details.json"
    files = ["--ground-truth", str(truth), "--predictions", str(evaluated / "predictions.json")]
    assert main(["score", *files, "--details", "--output", str(output)]) == 0
    expected, found = (
        json.loads(path.read_text(), parse_float=lambda text: round(float(text), 9))
        for path in (evaluated / "metrics.json", output)
    )
    assert set(expected) - set(found) == {"mask_ap", "semantic"}
    assert {"boundary", "per_image"} < found.keys()
    assert {name: expected[name] for name in found if name != "notes"} == {
        n: v for n, v in found.items() if n != "notes"
    }


def test_panopticapis_own_command_finds_what_evaluate_found(evaluated: Path, shapes_root: Path):
    evaluation = pytest.importorskip("panopticapi.evaluation")
    truth, predictions = shapes_root / "annotations" / "panoptic_val.json", evaluated / "predictions.json"
    official = evaluation.pq_compute(str(truth), str(predictions), gt_folder=str(shapes_root / "panoptic_val"))
    ours = json.loads((evaluated / "metrics.json").read_text())
    for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st")):
        for number in ("pq", "sq", "rq"):
            assert ours[f"{number.upper()}{suffix}"] == pytest.approx(100 * official[group][number], abs=1e-10)


def test_evaluate_refuses_annotations_of_other_categories(
    run: Path, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = json.loads((shapes_root / "annotations" / "panoptic_val.json").read_text())
    data["categories"][0]["name"] = "wheel"
    (tmp_path / "other.json").write_text(json.dumps(data))
    segments = ["--segments", str(shapes_root / "panoptic_val"), "--output", str(tmp_path / "out")]
    where = ["--images", str(shapes_root / "val"), "--annotations", str(tmp_path / "other.json")]
    assert main(["evaluate", "--checkpoint", str(run), *where, *segments]) == 1
    assert "category 1 is 'disc' (thing) in the model, 'wheel' (thing) in the file" in capsys.readouterr().err


def test_predict_keeps_folders_and_names_and_says_what_it_left_out(
    run: Path, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, second = sorted((shapes_root / "val").iterdir())[:2]
    (tmp_path / "in" / "Straße 1").mkdir(parents=True)
    shutil.copy(first, tmp_path / "in" / "Straße 1" / "a b.jpg")
    Image.open(second).convert("L").save(tmp_path / "in" / "gray.png")
    (tmp_path / "in" / "broken.jpg").write_bytes(first.read_bytes()[:2000])
    (tmp_path / "in" / "notes.txt").write_text("no image")
    output = tmp_path / "in" / "out"  # results inside the input are not taken for input
    arguments = ["predict", "--checkpoint", str(run), "--input", str(tmp_path / "in"), "--output", str(output)]
    for _ in range(2):
        assert main([*arguments, "--overlays", "--batch", "2"]) == 1
        said = capsys.readouterr()
        assert "Predicted 2 of 3 images" in said.out
        assert "1 of 3 images failed" in said.err
        assert "broken.jpg" in said.err
    data = json.loads((output / "predictions.json").read_text())
    assert {image["file_name"] for image in data["images"]} == {"gray.png", "Straße 1/a b.jpg"}
    for row, image in zip(data["annotations"], data["images"], strict=True):
        png = Image.open(output / "predictions" / row["file_name"])
        assert png.size == (image["width"], image["height"])
        ids = np.asarray(png).astype(int) @ [1, 256, 65536]
        assert set(np.unique(ids)) - {0} == {segment["id"] for segment in row["segments_info"]}
    assert (output / "overlays" / "Straße 1" / "a b.jpg").is_file()
    assert (output / "overlays" / "gray.jpg").is_file()


def test_predict_zips_a_coco_submission(run: Path, shapes_root: Path, tmp_path: Path):
    data = json.loads((shapes_root / "annotations" / "panoptic_val.json").read_text())
    images = [{**image, "id": image["id"] + 40} for image in data["images"]]
    things = [{key: c[key] for key in ("id", "name", "supercategory")} for c in data["categories"] if c["isthing"]]
    listed = tmp_path / "image_info_test-dev2017.json"
    listed.write_text(json.dumps({"images": images, "categories": things}))
    where = ["--input", str(shapes_root / "val"), "--annotations", str(listed), "--output", str(tmp_path / "out")]
    assert main(["predict", "--checkpoint", str(run), *where, "--coco-submission", "Tiny"]) == 0
    with zipfile.ZipFile(tmp_path / "out" / "panoptic_test-dev2017_Tiny_results.zip") as archive:
        rows = json.loads(archive.read("panoptic_test-dev2017_Tiny_results.json"))["annotations"]
        assert {row["image_id"] for row in rows} == {41, 42, 43}
        assert {f"panoptic_test-dev2017_Tiny_results/{row['file_name']}" for row in rows} < set(archive.namelist())


def test_a_submissions_name_is_checked_before_predicting(
    run: Path, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    truth = str(shapes_root / "annotations" / "panoptic_val.json")
    where = ["--input", str(shapes_root / "val"), "--annotations", truth, "--output", str(tmp_path / "out")]
    assert main(["predict", "--checkpoint", str(run), *where, "--coco-submission", "my model"]) == 1
    assert "'my model': use letters" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_demo_goes_from_nothing_to_a_picture_and_never_into_a_used_folder(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("keep")
    small = ["--train-images", "4", "--val-images", "2", "--trainer.max_steps", "1"]
    assert main(["demo", "--config", str(settings), "--output", str(tmp_path / "demo"), *small]) == 0
    made = tmp_path / "demo-2"
    for name in ("demo.png", "nuclei.png", "val/metrics.json", "val/predictions.json", "run/best.safetensors"):
        assert (made / name).is_file()
    assert str(made / "demo.png") in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["mine.txt"]


def test_a_demo_in_a_folder_that_is_used_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.txt").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert _free_folder(Path(".")) == tmp_path / "here-2"


def test_the_demo_trains_the_model_of_the_package(tmp_path: Path):
    small = ["--train-images", "4", "--val-images", "2", "--trainer.max_steps", "1", "--optimizer.lr", "1e-9"]
    assert main(["demo", "--output", str(tmp_path / "demo"), *small]) == 0
    trained, before = pb.load(tmp_path / "demo" / "run").state_dict(), pb.load("nuclei-nano").state_dict()
    same = [name for name, value in trained.items() if value.shape == before[name].shape]
    assert len(same) > 0.9 * len(trained)
    for name in same:
        if name.endswith("weight"):
            torch.testing.assert_close(trained[name], before[name], rtol=0, atol=1e-6)


def test_the_library_does_in_five_lines_what_the_command_does(run: Path, shapes_root: Path, tmp_path: Path):
    picture = min((shapes_root / "val").iterdir())
    model = pb.load(run)
    prediction = pb.Predictor(model)(picture)
    prediction.save(tmp_path / "out.png")
    assert (tmp_path / "out.png").is_file()
    truth = shapes_root / "annotations" / "panoptic_val.json"
    assert pb.panoptic_quality(truth, truth).all.pq == 1.0


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["scor"], "Did you mean score?"),
        (["--versoin"], "Did you mean --version?"),
        (["score", "--ground-trut", "x"], "Did you mean --ground-truth?"),
        (["score", "--engine", "x"], "--engine"),
        (["score"], "--ground-truth, --predictions"),
        (["train", "--trainer.max_stepz", "3"], "Did you mean --trainer.max_steps?"),
        (["train", "--max_steps", "3"], "Did you mean --trainer.max_steps?"),
        (["train", "--resum", "x"], "Did you mean --resume?"),
        (["train"], "--config FILE"),
        (["train", "--config", "none.yaml"], "none.yaml: no such file"),
        (["train", "--config", "configs/shapes/r81.yaml"], "no such file. Did you mean shapes/r18.yaml?"),
        (["predict", "--checkpoint", "x", "--input", "y", "--output", "z", "--coco-submission", "n"], "--annotations"),
        (["predict", "--checkpoint", "x", "--input", "y", "--output", "z", "--workers", "2"], "give --engine ray"),
        (["predict", "--checkpoint", "x", "--input", "0", "--output", "z", "--engine", "ray"], "a film is read"),
        (["score", "--ground-truth", "x", "--predictions", "y", "--threads", "2"], "give --engine ray"),
        (["score", "--ground-truth", "x", "--predictions", "y", "--engine", "hotcoco", "--details"], "counts PQ alone"),
        (["train", "--resume", "x", "--restartable"], "--restartable"),
        (["predict", "--batch", "0"], "--batch: '0' is no number of 1 or more"),
        (["evaluate", "--batch", "many"], "--batch: 'many' is no number of 1 or more"),
        (["evaluate", "--overlays", "-3"], "--overlays: '-3' is no number of 1 or more"),
        (["score", "--output", "tests"], "--output: tests is a folder. Name a file"),
        (["benchmark", "--output", "setup.cfg/a/b.json"], "--output: setup.cfg is a file, and no folder for"),
        (["score", "--workers", "-1"], "--workers: '-1' is no number of 1 or more"),
        (["demo", "--train-images", "0"], "--train-images: '0' is no number of 1 or more"),
        (["compare", "x.yaml", "--seeds", "0"], "--seeds: '0' is no number of 1 or more"),
    ],
)
def test_a_wrong_word_gets_one_line_with_the_right_one(
    arguments: list[str], answer: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert answer in said.err
    assert said.err.count("\n") == 1
    assert not said.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "--ground-truth", "none.json", "--predictions", "none.json"],
        ["predict", "--checkpoint", "none", "--input", "none.jpg", "--output", "out"],
        ["train", "--resume", "runs/none"],
        ["train", "--resume", "runs/none/last.ckpt"],
        ["evaluate", "--checkpoint", "x", "--images", "none", "--annotations", "x.json", "--output", "out"],
    ],
)
def test_a_missing_file_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "none" in said
    assert "yaml" not in said


@pytest.mark.parametrize("command", ["", "train", "evaluate", "predict", "score", "demo", "convert-checkpoint"])
def test_help_everywhere(command: str, capsys: pytest.CaptureFixture[str]):
    assert main([*([command] if command else []), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: panoptic-blend {command}".strip())
    if command in ("train", "demo"):
        assert "subtracted from each channel" in said  # a setting's own documentation


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def interrupt(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("panoptic_blend.commands.score.run", interrupt)
    assert main(["score"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [ConfigError("no such thing"), AttributeError("half imported")])
@pytest.mark.parametrize(("number", "code", "says"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "")])
def test_what_fails_of_a_signal_that_was_swallowed_is_not_told(
    number: signal.Signals,
    code: int,
    says: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def swallow(arguments: list[str]) -> None:
        with suppress(BaseException):
            signal.raise_signal(number)
        raise error

    monkeypatch.setattr("panoptic_blend.commands.score.run", swallow)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["score"]) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == says


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_what_was_predicted_and_the_same_command_goes_on(
    number: signal.Signals,
    code: int,
    run: Path,
    shapes_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    predicted: list[int] = []
    predict = pb.Predictor.predict_batch

    def be_stopped(self: pb.Predictor, images: list[object]) -> object:
        predicted.append(len(images))
        if len(predicted) == 3:
            assert any(time.sleep(0.1) or list((tmp_path / "out").glob("predictions/*.png")) for _ in range(100))
            os.kill(os.getpid(), number)
            time.sleep(10)
        return predict(self, images)

    monkeypatch.setattr(pb.Predictor, "predict_batch", be_stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(number)
    arguments = ["--checkpoint", str(run), "--input", str(shapes_root / "val"), "--output", str(tmp_path / "out")]
    try:
        assert main(["predict", *arguments]) == code
        assert number == signal.SIGINT or signal.getsignal(number) == before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert "The same command goes on" in capsys.readouterr().out
    done = len(json.loads((tmp_path / "out" / "predictions.json").read_text())["images"])
    assert done in (1, 2)
    assert main(["predict", *arguments]) == 0
    assert f"Predicted 3 of 3 images into {tmp_path / 'out'}, {done} of them" in capsys.readouterr().out
    assert len(predicted) == 3 + 3 - done


def test_nohup_is_heeded(monkeypatch: pytest.MonkeyPatch):
    seen: list[object] = []
    monkeypatch.setattr("panoptic_blend.commands.predict.run", lambda _: seen.append(signal.getsignal(signal.SIGHUP)))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["predict"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]


def test_results_of_another_model_are_replaced_on_demand_only(
    run: Path, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    truth = str(shapes_root / "annotations" / "panoptic_val.json")
    where = ["--images", str(shapes_root / "val"), "--annotations", truth, "--output", str(tmp_path)]
    command = ["evaluate", "--checkpoint", str(run), *where]
    assert main(command) == 0
    metrics = (tmp_path / "metrics.json").read_bytes()
    assert main([*command, "--model.merge.min_stuff_area", "99999"]) == 1
    assert "made with model.merge.min_stuff_area 0 (now 99999)." in (said := capsys.readouterr().err)
    assert "--overwrite" in said
    assert (tmp_path / "metrics.json").read_bytes() == metrics
    assert main([*command, "--model.merge.min_stuff_area", "99999", "--overwrite"]) == 0
    assert (tmp_path / "metrics.json").read_bytes() != metrics


def test_folders_may_look_like_markup(
    run: Path, settings: Path, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    odd = tmp_path / "a[red]b[" / "c]"
    truth = str(shapes_root / "annotations" / "panoptic_val.json")
    image = shapes_root / "val" / "val_000000.jpg"
    assert main(["predict", "--checkpoint", str(run), "--input", str(image), "--output", str(odd / "p")]) == 0
    where = ["--images", str(shapes_root / "val"), "--annotations", truth, "--output", str(odd / "e")]
    assert main(["evaluate", "--checkpoint", str(run), *where]) == 0
    assert main(["train", "--config", str(settings), "--trainer.output", str(odd / "r"), "--trainer.max_steps=1"]) == 0
    assert main(["train", "--resume", str(odd / "r")]) == 0
    said = "".join(capsys.readouterr().out.split())
    assert said.count("a[red]b[/c]/") >= 4


def test_a_file_where_a_folder_must_be_is_no_traceback(
    run: Path, shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    images = str(shapes_root / "val" / "val_000000.jpg")
    assert main(["predict", "--checkpoint", str(run), "--input", images, "--output", str(tmp_path / "file")]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "file") in said
    assert said.count("\n") == 1


def test_help_and_score_start_without_torch():
    program = """
import sys
from panoptic_blend.cli import main
for arguments in (["--help"], ["--version"], ["score", "--ground-truth", "x", "--predictions", "y"]):
    main(arguments)
sys.exit("torch" in sys.modules or "lightning" in sys.modules or "jsonargparse" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_a_reader_that_leaves_is_no_traceback():
    command = [sys.executable, "-m", "panoptic_blend", "train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_file_that_cannot_be_moved_is_told_by_its_final_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(arguments: list[str]) -> None:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", "out/.f3a9.tmp", None, "out/predictions.json")

    monkeypatch.setattr("panoptic_blend.commands.score.run", fail)
    assert main(["score"]) == 1
    assert capsys.readouterr().err == "out/predictions.json: Is a directory.\n"


def test_an_error_that_nobody_foresaw_is_one_line_and_its_details_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def fail(arguments: list[str]) -> None:
        raise RuntimeError("the first line\nand the second")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("panoptic_blend.commands.score.run", fail)
    assert main(["score", "--output", "a b"]) == 1
    said = capsys.readouterr().err
    (details,) = tmp_path.iterdir()
    assert said.startswith("Unexpected RuntimeError: the first line and the second - a fault of this program.")
    assert str(details) in said
    assert said.count("\n") == 1
    text = details.read_text()
    assert "panoptic-blend score --output 'a b'\n" in text
    assert f"torch {version('torch')}" in text
    assert 'raise RuntimeError("the first line' in text


@pytest.mark.parametrize("words", [["--token", "hunter2"], ["--token=hunter2"]])
def test_the_details_of_an_error_hold_no_token(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def fail(arguments: list[str]) -> None:
        raise RuntimeError

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("panoptic_blend.commands.serve.run", fail)
    assert main(["serve", "--checkpoint", "nuclei-nano", *words, "--port", "1"]) == 1
    (details,) = tmp_path.iterdir()
    assert "hunter2" not in details.read_text()
    assert "--checkpoint nuclei-nano" in details.read_text()
    assert details.read_text().splitlines()[0].endswith("--port 1")


def test_a_file_in_the_way_of_a_folder_is_told(run: Path, shapes_root: Path, tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    arguments = ["--input", str(shapes_root / "val"), "--output", str(tmp_path / "file" / "out")]
    assert main(["predict", "--checkpoint", str(run), *arguments]) == 1
    assert "a file is where a folder was expected. Choose another name" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--resume", "any", "--trainer.output", "other"], "--trainer.output: a run that goes on stays"),
        (["demo", "--data.root", "other"], "--data.root: all lies below --output"),
        (["export", "--checkpoint", "a", "--output", "b", "--most-pq-loss", "abc"], "'abc' is no number of 0 or more"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(arguments: list[str], said: str, capsys):
    assert main(arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_run_without_its_settings_is_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copy(run / "last.ckpt", tmp_path)
    assert main(["train", "--resume", str(tmp_path)]) == 1
    assert "config.yaml: is missing. Give the run's settings" in " ".join(capsys.readouterr().err.split())


def test_an_error_of_the_system_about_no_file_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def fail(arguments: list[str]) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))  # nor can a file be written
    monkeypatch.setattr("panoptic_blend.commands.score.run", fail)
    assert main(["score"]) == 1
    said = capsys.readouterr().err
    assert "raise OSError(errno.EMFILE" in said
    assert "Unexpected OSError: [Errno 24] Too many open files" in said.splitlines()[-1]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_lacks_a_letter_prints_the_rest(encoding: str, tmp_path: Path):
    categories = [{"id": 1, "name": "道路 ± Straße", "isthing": 0}, {"id": 2, "name": "caf\udce9", "isthing": 1}]
    image = {"id": 1, "file_name": "a.jpg", "width": 4, "height": 4}
    row = {
        "image_id": 1,
        "file_name": "a.png",
        "segments_info": [{"id": 7, "category_id": 1, "area": 16, "iscrowd": 0}],
    }
    content = {"images": [image], "annotations": [row], "categories": categories}
    (tmp_path / "道.json").write_text(json.dumps(content))
    (tmp_path / "道").mkdir()
    Image.new("RGB", (4, 4), (7, 0, 0)).save(tmp_path / "道" / "a.png")
    command = [sys.executable, "-m", "panoptic_blend", "score", "--ground-truth", str(tmp_path / "道.json")]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([*command, "--predictions", command[-1]], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"100.0" in done.stdout
    assert "?? ± Straße".encode(encoding, "replace") in done.stdout
    done = subprocess.run([*command, "--predictions", "道.json"], env=environment, capture_output=True)
    assert done.returncode == 1
    assert b"??.json" in done.stderr or b"?.json" in done.stderr


def test_options_come_from_the_parser_and_not_from_its_text():
    parser = Parser("toy", "Not an option: --nothing")
    parser.add_argument("--top-5", "-t", action="store_true", help="unlike --other")
    assert parse(parser, ["--top-5"]).top_5
    for word in ("--nothing", "--other", "--top-"):
        with pytest.raises(ConfigError, match=f"^{word} is not known here"):
            parse(parser, [word])


def test_home_is_expanded_in_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert main(["score", "--ground-truth=~/none.json", "--predictions", "x"]) == 1
    assert main(["convert-checkpoint", "--from", "adelaidet", "~/none.pth", "--output=~/out"]) == 1
    assert main(["predict", "--checkpoint=~/none", "--input", "~/none*.jpg", "--output=~/out"]) == 1
    assert main(["compare", "~/none.yaml"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    assert all(str(tmp_path) in line or "~/none.yaml: no such file" in line for line in told)
    assert not Path("~").exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_memory_that_runs_out_is_no_fault_of_the_program(error: Exception, monkeypatch: pytest.MonkeyPatch, capsys):
    def run(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr("panoptic_blend.commands.score.run", run)
    assert main(["score"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("memory ran out.")
    assert said.count("\n") == 1
