from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from panoptic_blend.cli import main
from panoptic_blend.comparison import runs
from panoptic_blend.comparison.ablation import Ablation
from panoptic_blend.comparison.compare import compare
from panoptic_blend.comparison.latency import measure_latency
from panoptic_blend.config_files import write_config
from panoptic_blend.errors import ConfigError, TrainingStopped
from panoptic_blend.training.module import TrainingModule
from tests.tiny import tiny_model_config_with
from tests.training.tiny_run import tiny_config

QUIET = Console(quiet=True)


def ablation(data: Path, name: str, *heads: str) -> Ablation:
    variants = {}
    for head in heads:
        variants[head] = tiny_config(data, Path("unused"), max_steps=2)
        variants[head].model = tiny_model_config_with(head)
    return Ablation(name, name, variants)


def count_training(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    trained: list[str] = []
    original = runs.train

    def train(config, resume, console):  # type: ignore[no-untyped-def]
        trained.append(f"{config.model.masks.head}{config.trainer.seed}" + (" resumed" if resume else ""))
        return original(config, resume, console)

    monkeypatch.setattr(runs, "train", train)
    return trained


def test_every_run_is_made_once_and_a_stopped_one_goes_on(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = count_training(monkeypatch)
    ablations = [ablation(shapes_root, "pair", "blender", "fcis"), ablation(shapes_root, "single", "fcis")]
    steps = iter(range(100))
    original = TrainingModule.training_step

    def stopping_step(self: TrainingModule, batch, batch_idx):  # type: ignore[no-untyped-def]
        if next(steps) == 5:  # two passes a step, two steps a run: in the second run
            signal.raise_signal(signal.SIGTERM)
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", stopping_step)
        with pytest.raises(TrainingStopped):
            compare(ablations, 2, tmp_path, QUIET)
    assert not list(tmp_path.glob("*.md"))

    tables = compare(ablations, 2, tmp_path, QUIET)
    # The ablations share a variant, which is trained once; the first seed comes first.
    assert trained == ["blender0", "fcis0", "fcis0 resumed", "blender1", "fcis1"]
    assert [table.name for table in tables] == ["pair.md", "single.md"]
    for name in ("pair", "single"):
        assert all((tmp_path / f"{name}.{kind}").stat().st_size > 0 for kind in ("md", "csv", "png"))

    with (tmp_path / "pair.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        folders = [tmp_path / "runs" / name for name in row["runs"].split()]
        values = [json.loads((folder / "val" / "metrics.json").read_text())["PQ"] for folder in folders]
        assert float(row["PQ_mean"]) == pytest.approx(sum(values) / 2, abs=1e-3)
        assert float(row["latency_ms"]) > 0

    assert compare(ablations, 2, tmp_path, QUIET) == tables
    assert len(trained) == 5


def test_figures_of_some_images_are_never_those_of_a_run(
    shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = runs.prepare(tiny_config(shapes_root, tmp_path, max_steps=1), 0, tmp_path)
    of_some = Path(config.trainer.output) / "val" / "metrics.json"

    def killed_while_an_image_fails(*arguments: object) -> Path:
        of_some.parent.mkdir()
        of_some.write_text(json.dumps({"PQ": 99.0}))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs, "evaluate", killed_while_an_image_fails)
        with pytest.raises(KeyboardInterrupt):
            runs.finish(config, QUIET)
    found = runs.finish(config, QUIET)
    assert found["PQ"] != 99.0
    assert found == json.loads(of_some.read_text())


def test_samples_that_are_left_out_of_training_are_not_judged_by(shapes_root: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes_root, tmp_path / "shapes")
    pictures = sorted((tmp_path / "shapes" / "val").iterdir())
    pictures[1].unlink()
    config = tiny_config(tmp_path / "shapes", Path("unused"), max_steps=1)
    config.data.on_bad_sample, config.trainer.patience = "skip", 2
    (table,) = compare([Ablation("one", "one", {"plain": config})], 1, tmp_path / "out", QUIET)
    assert "plain" in table.read_text()
    (metrics,) = (tmp_path / "out" / "runs").glob("*/metrics.json")
    assert len(json.loads(metrics.read_text())["per_image"]) == len(pictures) - 1


def test_pictures_of_one_band_are_timed_as_such(shapes_root: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes_root, tmp_path / "gray")
    for split in ("train", "val"):
        for path in (tmp_path / "gray" / split).iterdir():
            Image.open(path).convert("L").save(path)
    gray = tiny_config(tmp_path / "gray", Path("unused"), max_steps=1)
    gray.model.input.channels = 1
    (table,) = compare([Ablation("gray", "gray", {"plain": gray})], 1, tmp_path / "out", QUIET)
    assert "plain" in table.read_text()
    color = tiny_config(shapes_root, Path("unused"), max_steps=1)
    with pytest.raises(ConfigError, match=r"1 and 3 model\.input\.channels"):
        compare([Ablation("both", "both", {"gray": gray, "color": color})], 1, tmp_path / "out", QUIET)


def test_tables_of_one_name_are_refused_before_training(shapes_root: Path, tmp_path: Path) -> None:
    pair = [ablation(shapes_root, "same", "fcis"), ablation(shapes_root, "same", "blender")]
    with pytest.raises(ConfigError, match="Two ablation files are named same"):
        compare(pair, 1, tmp_path, QUIET)
    assert not list(tmp_path.iterdir())


def test_changed_settings_are_a_new_run(shapes_root: Path, tmp_path: Path) -> None:
    config = tiny_config(shapes_root, tmp_path)
    same = runs.prepare(tiny_config(shapes_root, tmp_path / "elsewhere"), 0, tmp_path)
    prepared = runs.prepare(config, 0, tmp_path)
    assert prepared == same
    config.optimizer.lr *= 2
    assert runs.prepare(config, 0, tmp_path).trainer.output != prepared.trainer.output
    assert runs.prepare(config, 1, tmp_path).trainer.seed == 1


def test_changed_annotations_are_a_new_run(shapes_root: Path, tmp_path: Path) -> None:
    config = tiny_config(shutil.copytree(shapes_root, tmp_path / "data"), tmp_path)
    before = runs.prepare(config, 0, tmp_path)
    assert runs.prepare(config, 0, tmp_path) == before
    for name in (config.data.train_annotations, config.data.val_annotations):
        path = tmp_path / "data" / name
        path.write_text(path.read_text() + " ")
        after = runs.prepare(config, 0, tmp_path)
        assert after.trainer.output != before.trainer.output
        before = after


@pytest.mark.parametrize("setting", ["--trainer.seed=7", "--trainer.output=x", "--trainer.val_every=2"])
def test_settings_that_it_decides_by_itself_are_refused(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "any.yaml", setting]) == 2
    assert f"{setting.partition('=')[0]}: " in " ".join(capsys.readouterr().err.split())


def test_models_take_turns_on_every_picture() -> None:
    calls: list[tuple[str, int]] = []

    def model(name: str):  # type: ignore[no-untyped-def]
        return lambda image: calls.append((name, int(image.max())))

    images = [torch.full((3, 2, 2), value, dtype=torch.uint8) for value in (1, 2)]
    latency = measure_latency({name: model(name) for name in "abc"}, images, rounds=3)  # type: ignore[misc]
    assert latency.keys() == set("abc")
    assert calls[:3] == [("a", 1), ("b", 1), ("c", 1)]  # once each before the clock runs
    turns = ["".join(name for name, _ in calls[start : start + 3]) for start in range(3, len(calls), 3)]
    assert turns == ["abc", "abc", "bca", "bca", "cab", "cab"]
    assert [value for _, value in calls[3:]] == [1, 1, 1, 2, 2, 2] * 3


def test_the_command_compares_an_ablation_file(
    shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tiny_config(Path("nowhere"), tmp_path / "unused"), tmp_path / "base.yaml")
    file = tmp_path / "flips.yaml"
    file.write_text("title: Flips\nvariants: {none: {data: {flip: 0.0}}, half: {}}\n")
    arguments = ["--base", str(tmp_path / "base.yaml"), "--steps", "1", "--output", str(tmp_path / "out")]
    assert main(["compare", "--data.root", str(shapes_root), str(file), *arguments]) == 0
    assert "### Flips" in capsys.readouterr().out
    assert "| half |" in (tmp_path / "out" / "flips.md").read_text()
