"""Shards, and what becomes of them whoever dies, with workers that are functions of this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from panoptic_blend.cli import main
from panoptic_blend.distributed import predicting
from panoptic_blend.distributed.pool import Cluster
from panoptic_blend.distributed.predicting import predict_on_ray, shard_size
from panoptic_blend.errors import ConfigError, DatasetError, ResourceError
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.sources import ImageFiles, find_images
from panoptic_blend.inference.writing import write_predictions
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import talkative_model_config

QUIET = Console(quiet=True)
IMAGES = 19


class Here:
    """A pool whose workers are this process.

    Args:
        disturb: is called before every task with its number; what it raises is raised, and True lets workers die.
    """

    def __init__(self, make: Callable[[], Any], disturb: Callable[[int], bool]):
        self.make = make
        self.disturb = disturb

    def spread(self, work: Any, tasks: Iterable[Any], lost: Any = None) -> Iterator[Any]:
        for number, task in enumerate(tasks):
            if isinstance(task, predicting.Shard) and self.disturb(number):
                with pytest.raises(KeyboardInterrupt):
                    work(interrupted_after(self.make(), 1), task)
                yield lost(task)
            else:
                yield work(self.make(), task)


def interrupted_after(predictor: Predictor, images: int) -> Predictor:
    """A predictor that dies in the middle of a shard."""
    predict, left = predictor.predict_batch, iter(range(images))

    def predict_some(pictures: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return predict(pictures)

    dying = Predictor(predictor.engine.model, "cpu", "fp32")  # type: ignore[attr-defined]
    dying.predict_batch = predict_some  # type: ignore[method-assign]
    return dying


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")


@pytest.fixture
def source(tmp_path: Path) -> ImageFiles:
    """Pictures of two sizes; the sixth cannot be read, and the second is called like the first."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(IMAGES):
        noise = Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8))
        name = "00.jpg" if number == 0 else f"{number - 1:02}.png"
        noise.resize((90, 60) if number % 3 else (60, 60)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "05.png").write_bytes(b"no picture")
    return ImageFiles(find_images([str(tmp_path / "in")], ()).files)


@pytest.fixture
def predict(
    predictor: Predictor, source: ImageFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Predicts into out/ as if on two workers."""

    def run(disturb: Callable[[int], bool] = lambda number: False, **options: Any) -> Any:
        @contextmanager
        def pool(cluster: Cluster, make: Callable[[], Any]) -> Iterator[Here]:
            yield Here(make, disturb)

        monkeypatch.setattr(predicting, "pool", pool)
        output = tmp_path / "out"
        return predict_on_ray(Cluster(2), options.pop("make", lambda: predictor), source, output, QUIET, **options)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_journal(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if name != "progress.jsonl"}


def test_shards_leave_what_one_process_leaves(
    predict: Callable[..., Any], predictor: Predictor, source: ImageFiles, tmp_path: Path
):
    expected = write_predictions(predictor, source, tmp_path / "whole", QUIET, overlays=True)
    found = predict(overlays=True)
    assert found == expected
    assert len(found.failures) == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")  # the order of the journal, too
    assert not (tmp_path / "out" / ".parts").exists()


@pytest.mark.parametrize("on_ray", [True, False])
def test_after_the_driver_died_only_what_is_missing_is_predicted(
    on_ray: bool,
    predict: Callable[..., Any],
    predictor: Predictor,
    source: ImageFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def die(number: int) -> bool:
        if number == 4:
            raise KeyboardInterrupt
        return False

    write_predictions(predictor, source, tmp_path / "whole", QUIET)
    monkeypatch.setattr(predicting, "_join", lambda *arguments: [])  # it died before it could join any
    with pytest.raises(KeyboardInterrupt):
        predict(die)
    monkeypatch.undo()
    assert not list((tmp_path / "out").glob("predictions/*.png"))
    size = shard_size(IMAGES, 2, 1)
    kept = 4 * size - 1  # the sixth cannot be read
    again = predict() if on_ray else write_predictions(predictor, source, tmp_path / "out", QUIET)
    assert (again.written, again.earlier) == (IMAGES - 1, kept)
    assert [failure.split(":")[0].rsplit("/")[-1] for failure in again.failures] == ["05.png"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_shard_that_ends_all_its_workers_costs_what_it_did_not_keep(
    predict: Callable[..., Any], predictor: Predictor, source: ImageFiles, tmp_path: Path
):
    write_predictions(predictor, source, tmp_path / "whole", QUIET)
    found = predict(lambda number: number == 1)
    size = shard_size(IMAGES, 2, 1)
    lost = [failure for failure in found.failures if "workers were ended" in failure]
    assert len(lost) == size - 1
    assert lost[0].startswith("02.png: 3 workers were ended at it or at a neighbour, probably for lack of memory.")
    assert found.written == IMAGES - 1 - len(lost)
    assert predict().written == IMAGES - 1
    assert without_journal(contents(tmp_path / "out")) == without_journal(contents(tmp_path / "whole"))


def test_overlays_asked_for_later_are_drawn(
    predict: Callable[..., Any], predictor: Predictor, source: ImageFiles, tmp_path: Path
):
    write_predictions(predictor, source, tmp_path / "whole", QUIET, overlays=True)
    predict()
    predict(overlays=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_overwriting_takes_parts_away_that_another_model_left(
    predict: Callable[..., Any], predictor: Predictor, source: ImageFiles, tmp_path: Path
):
    other = Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")
    write_predictions(other, source.only([0, 1]), tmp_path / "out" / ".parts" / "000003", QUIET)
    with pytest.raises(DatasetError, match="made with other weights"):
        predict()
    assert predict(overwrite=True).written == IMAGES - 1
    write_predictions(predictor, source, tmp_path / "whole", QUIET)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_workers_whose_models_differ_are_not_mixed(predict: Callable[..., Any], predictor: Predictor):
    other = Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")
    models = iter([predictor, predictor, other])
    with pytest.raises(ConfigError, match=r"another model than the first: other weights\. Give --precision"):
        predict(make=lambda: next(models))


def test_a_folder_that_machines_do_not_share_is_told(
    predict: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def on_a_disk_of_its_own(predictor: Predictor, images: ImageFiles, part: Path, *options: Any, tiffs: bool) -> Any:
        return write_predictions(predictor, images, tmp_path / "another disk" / part.name, *options, tiffs=tiffs)

    monkeypatch.setattr(predicting, "write_predictions", on_a_disk_of_its_own)
    with pytest.raises(ResourceError, match="All machines must see the output folder under this path"):
        predict()


@pytest.mark.parametrize(
    ("images", "workers", "batch", "expected"),
    [(10_000_000, 100, 1, 64), (19, 2, 1, 2), (1, 8, 1, 1), (0, 8, 1, 1), (100, 2, 8, 16), (10_000, 2, 7, 70)],
)
def test_every_worker_gets_several_shards_of_whole_batches(images: int, workers: int, batch: int, expected: int):
    assert shard_size(images, workers, batch) == expected


def test_images_of_a_part_keep_their_ids(source: ImageFiles):
    part = source.only([3, 4, 17])
    assert [part.locate(i) for i in range(3)] == [source.locate(i) for i in (3, 4, 17)]
    assert part[2].record == source[17].record


@pytest.mark.parametrize("command", ["predict", "score"])
def test_without_ray_one_sentence_says_what_to_install(
    command: str, source: ImageFiles, shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setitem(sys.modules, "ray", None)
    truth = str(shapes_root / "annotations" / "panoptic_val.json")
    arguments = {
        "predict": ["--checkpoint", "nuclei-nano", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")],
        "score": ["--ground-truth", truth, "--predictions", truth],
    }[command]
    assert main([command, *arguments, "--engine", "ray"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("--engine ray needs Ray, which is not installed. Run `pip install 'panoptic-blend[ray]'`")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "localhost:http"])
def test_an_address_where_no_cluster_answers_is_told(
    address: str, source: ImageFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("ray")
    arguments = ["--checkpoint", "nuclei-nano", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(["predict", *arguments, "--engine", "ray", "--ray-address", address]) == 2
    assert capsys.readouterr().err.startswith(f"--ray-address {address}: no Ray cluster answers there (")
    assert not (tmp_path / "out").exists()
