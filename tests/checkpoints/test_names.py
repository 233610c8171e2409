"""Models by name: a path wins, a name is downloaded and converted once, and a misspelt one is answered."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import panoptic_blend as pb
from panoptic_blend.catalogue import cache
from panoptic_blend.catalogue.models import MODELS, KnownModel
from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints import initialise, names, save_model
from panoptic_blend.checkpoints.adelaidet import parameter_rules
from panoptic_blend.checkpoints.names import find_checkpoint, load_checkpoint
from panoptic_blend.checkpoints.naming import COUNTER, translate
from panoptic_blend.cli import main
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config_files import read_config, write_config
from panoptic_blend.errors import CheckpointError, DownloadError
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from tests.files.server import FileServer, serve
from tests.tiny import tiny_model_config


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[PanopticBlend, Path, bytes]:
    """A narrow model for instances, its configuration, and its weights as AdelaiDet would have written them."""
    config = read_config("coco/550_r50_3x.yaml")
    model = config.model
    model.backbone.width, model.fpn.channels, model.bases.channels = 4, 16, 16
    path = tmp_path_factory.mktemp("published") / "narrow.yaml"
    write_config(config, path)
    torch.manual_seed(0)
    built = build_model(model, Categories(coco_categories().things)).eval()
    rules = parameter_rules(model.fpn.finest_level)
    state = {translate(n, rules): t for n, t in built.state_dict().items() if not n.endswith(COUNTER)}
    content = io.BytesIO()
    torch.save({"model": state}, content)
    return built, path, content.getvalue()


@pytest.fixture
def server(
    published: tuple[PanopticBlend, Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileServer]:
    """A server that has the model; the names of this test are `narrow` and `start`."""
    _, configuration, content = published
    for name, value in ((cache.HOME, str(tmp_path / "home")), ("NO_PROXY", "127.0.0.1"), (cache.OFFLINE, "")):
        monkeypatch.setenv(name, value)
    with serve(content) as running:
        narrow = KnownModel(
            "narrow", "for tests", "model", "AdelaiDet", "CC0", f"{running.url}/R_4.pth",
            digest=f"sha256:{hashlib.sha256(content).hexdigest()}", configuration=str(configuration),
        )  # fmt: skip
        start = replace(narrow, name="start", kind="start", maker="detectron2")
        monkeypatch.setattr(names, "MODELS", (narrow, start))
        yield running


def test_a_name_is_downloaded_and_converted_once(
    published: tuple[PanopticBlend, Path, bytes], server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _, _ = published
    for _ in range(2):
        model = pb.load("narrow")
        assert isinstance(model, PanopticBlend)
        monkeypatch.setenv(cache.OFFLINE, "1")  # the second time, there is no need of a network
    assert len(server.requests) == 1
    folder = tmp_path / "home" / "models" / "narrow"
    assert sorted(path.name for path in folder.iterdir()) == ["narrow.safetensors", "sha256.txt"]
    assert model.categories == Categories(coco_categories().things)
    assert model.settings.shortest_edge == 550  # which no tensor tells
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_a_download_cut_in_the_middle_is_continued_by_the_next_command(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = len(server.answer.content) // 2
    monkeypatch.setattr("panoptic_blend.files.download.Patience.__init__.__defaults__", (30.0, 1, 0.0))
    server.misbehave(cut=half)
    assert main(["models", "--download", "narrow"]) == 1
    assert f"the connection ended after {half:,} of" in capsys.readouterr().err
    assert main(["models", "--download", "narrow"]) == 0
    assert server.requests[1]["Range"] == f"bytes={half}-"
    assert "narrow.safetensors" in capsys.readouterr().out


def test_a_path_that_exists_wins(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(build_model(tiny_model_config(), Categories([Category(1, "a", True, (0, 0, 0))])), "run.safetensors")
    Path("narrow").mkdir()
    Path("run.safetensors").rename("narrow/best.safetensors")
    assert [category.name for category in load_checkpoint("narrow").categories] == ["a"]
    assert find_checkpoint(Path("narrow")) == Path("narrow")
    assert not server.requests


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("narow", "narow: no such file. Did you mean narrow?"),
        (
            "runs/mine",
            "runs/mine: no such file. Name a run's folder, a file of weights, a model of `panoptic-blend",
        ),
    ],
)
def test_a_name_that_nothing_has_is_answered(server: FileServer, name: str, words: str) -> None:
    for find in (find_checkpoint, pb.load):
        with pytest.raises(CheckpointError) as failure:
            find(name)
        assert words in str(failure.value)


def test_starts_are_no_models(server: FileServer) -> None:
    with pytest.raises(CheckpointError, match=r"start: are weights to start a training from.*--init-from start"):
        pb.load("start")
    assert find_checkpoint("start").name == "R_4.pth"


def test_training_starts_from_a_name_by_the_names_of_categories(server: FileServer) -> None:
    config = read_config(names.MODELS[0].configuration).model
    car = next(c for c in coco_categories() if c.name == "car")
    ours = Categories([Category(1, "car", True, (0, 0, 0)), Category(2, "road", False, (0, 0, 0))])
    config.fpn.finest_level, config.semantic.enabled, config.semantic.channels = 2, True, 16
    model = build_model(config, ours)
    report = initialise(model, "narrow")
    assert "the file's model finds things alone: what is for stuff keeps its values." in report.notes
    assert report.new_categories == ["'road' (stuff)"]
    theirs = load_checkpoint("narrow")
    row = theirs.categories.things.index(car)
    logits = "network.head.class_logits.weight"
    assert torch.equal(model.state_dict()[logits][0], theirs.state_dict()[logits][row])
    for part in ("lateral", "output"):  # which count from the finest level, P2 here and P3 there
        for index in range(3):
            found = getattr(model.network.fpn, part)[index + 1].weight
            assert torch.equal(found, getattr(theirs.network.fpn, part)[index].weight)


def test_a_panoptic_configuration_with_adelaidets_file_is_told_that_it_is_of_instances(
    published: tuple[PanopticBlend, Path, bytes], tmp_path: Path
) -> None:
    _, path, content = published
    (tmp_path / "R_50_3x.pth").write_bytes(content)
    config = read_config(path).model
    config.fpn.finest_level, config.semantic.enabled, config.semantic.channels = 2, True, 16
    report = initialise(build_model(config, coco_categories()), tmp_path / "R_50_3x.pth")
    assert any("its panoptic weights seem lost" in note for note in report.notes)

    text = "MODEL:\n  PANOPTIC_FPN: {COMBINE: {ENABLED: true}}\n  FPN: {IN_FEATURES: [res2, res3, res4, res5]}\n"
    state = torch.load(tmp_path / "R_50_3x.pth", weights_only=True)["model"]
    with pytest.raises(CheckpointError, match=r"does not fit.*its panoptic weights seem lost"):
        pb.checkpoints.from_adelaidet(state, text)


def test_several_processes_download_once(tmp_path: Path) -> None:
    with serve(b"weights" * 100_000) as running:
        program = """
import os, sys
from panoptic_blend.checkpoints.names import find_checkpoint
print(find_checkpoint("imagenet-r50-caffe").stat().st_size)
"""
        environment = {
            "PATH": "", cache.HOME: str(tmp_path), cache.MIRROR: running.url, "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": ":".join(sys.path),
        }  # fmt: skip
        running.misbehave(cut=1000)
        processes = [
            subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        assert [process.communicate()[0].strip() for process in processes] == ["700000"] * 2
        assert [headers["Range"] for headers in running.requests] == [None, "bytes=1000-"]


def test_a_model_in_the_package_is_loaded_without_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision, as such files have, becomes single precision in the model."""
    model = build_model(tiny_model_config(), Categories([Category(1, "a", True, (0, 0, 0))])).half()
    save_model(model, tmp_path / "nano.safetensors")
    nano = KnownModel("nano", "for tests", "model", "panoptic_blend", "CC0", file=tmp_path / "nano.safetensors")
    monkeypatch.setattr(names, "MODELS", (nano,))
    monkeypatch.setenv(cache.OFFLINE, "1")
    loaded = pb.load("nano")
    assert isinstance(loaded, PanopticBlend)
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.equal(tensor, model.state_dict()[name].to(tensor.dtype)), name


@pytest.mark.parametrize(
    "command",
    [
        "predict --input none.jpg --output out --checkpoint",
        "evaluate --images . --annotations panoptic_val.json --output out --checkpoint",
        "explain --input none.jpg --output out --checkpoint",
        "export --output out --checkpoint",
        "benchmark --checkpoint",
        "train --config shapes/r18.yaml --init-from",
    ],
)
def test_every_command_takes_names_and_works_offline_when_told(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cache.HOME, str(tmp_path / "home"))
    monkeypatch.setenv(cache.OFFLINE, "")  # what the option sets is undone after the test
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.jpg").touch()
    Path("panoptic_val.json").write_text(
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a", "isthing": 1}]}'
    )
    Path("panoptic_val").mkdir()
    assert main([*command.split(), "blendmask-r50-1x", "--offline"]) == 1
    assert "blendmask-r50-1x: is not on this machine, and working offline" in capsys.readouterr().err


def test_a_hostile_file_under_a_known_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.HOME, str(tmp_path))
    with serve(b"not the weights") as running:
        monkeypatch.setenv(cache.MIRROR, running.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for model in MODELS:
            if len(model.digest) == len("sha256:") + 64:
                with pytest.raises(DownloadError, match="another file than expected"):
                    find_checkpoint(model.name)
