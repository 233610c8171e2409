"""A model of four bands goes the whole way, as the commands take it; the fourth alone shows what there is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints.native import load_model
from panoptic_blend.cli import main
from panoptic_blend.coco.truth import TrueSegment, TruthWriter
from panoptic_blend.config import Config, OptimizerConfig
from panoptic_blend.errors import CheckpointError, ConfigError, DatasetError
from panoptic_blend.exporting.export import export_model
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.serving.served_model import ServedModel
from panoptic_blend.training.data_module import load_data
from panoptic_blend.training.run import train
from tests.files.test_deep_png import write_deep_png
from tests.training.tiny_run import tiny_config

CATEGORIES = Categories([Category(1, "water", False, (0, 0, 200)), Category(2, "plants", False, (0, 200, 0))])
SIZE = 64


def paint(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [H, W, 4] and its map: plants are bright in the fourth band, and RGB is noise."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-12, 12)
    plants = np.cos(angle) * (columns - SIZE / 2) + np.sin(angle) * (rows - SIZE / 2) > offset
    picture = rng.integers(0, 256, (SIZE, SIZE, 4), dtype=np.uint8)
    picture[..., 3] = np.where(plants, 200, 60) + picture[..., 3] // 16
    return picture, 1 + plants.astype(np.int32)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    root = tmp_path_factory.mktemp("bands") / "data"
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        (root / split).mkdir(parents=True)
        with TruthWriter(root, split, CATEGORIES) as writer:
            for index in range(count):
                picture, id_map = paint(rng)
                Image.fromarray(picture).save(root / split / f"{index}.png")
                writer.write(f"{index}.png", id_map, {1: TrueSegment(1), 2: TrueSegment(2)})
    config = tiny_config(root, root.parent / "run", max_steps=30)
    config.model.input.channels = 4
    config.model.merge.min_stuff_area = 0
    config.model.backbone.norm = "group"
    config.data.jitter = None
    config.optimizer = OptimizerConfig(name="adamw", lr=0.04, warmup_steps=2)
    config.trainer = replace(config.trainer, val_every=0, ema_decay=0, accumulate=1)
    return config


@pytest.fixture(scope="module")
def run(config: Config) -> Path:
    return train(config, console=Console(quiet=True))


def quality(run: Path, root: Path, output: Path, *more: str) -> float:
    truth = root / "annotations" / "panoptic_val.json"
    words = ["--checkpoint", str(run), "--images", str(root / "val"), "--annotations", str(truth)]
    assert main(["evaluate", *words, "--output", str(output), "--precision", "fp32", *more]) == 0
    return json.loads((output / "metrics.json").read_text())["PQ"]


def test_the_fourth_band_is_seen(run: Path, config: Config, tmp_path: Path) -> None:
    root = Path(config.data.root)
    assert load_model(run).config.input.channels == 4
    assert quality(run, root, tmp_path / "seen", "--overlays", "1") > 60
    assert quality(run, root, tmp_path / "tiles", "--tile", "64", "--overlap", "16") > 60
    assert quality(run, root, tmp_path / "flipped", "--tta", "flip") > 60
    predictor = Predictor(load_model(run), precision="fp32")
    picture, id_map = paint(np.random.default_rng(1))
    assert right_pixels(predictor, picture, id_map) > 0.8
    picture[..., 3] = 130
    assert right_pixels(predictor, picture, id_map) < 0.7


def right_pixels(predictor: Predictor, picture: np.ndarray, categories: np.ndarray) -> float:
    """Share of the pixels that get their category."""
    found = predictor(picture)
    of_id = {0: 0} | {segment.id: segment.category_id for segment in found.segments}
    return float((np.vectorize(of_id.get)(found.id_map) == categories).mean())


def test_sixteen_bits_are_predicted_as_eight(run: Path, tmp_path: Path) -> None:
    picture, _ = paint(np.random.default_rng(2))
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "shallow.png")
    write_deep_png(tmp_path / "in" / "deep.png", picture.astype(np.uint16) * 257)
    words = ["predict", "--checkpoint", str(run), "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main([*words, "--precision", "fp32", "--overlays"]) == 0
    maps = [np.asarray(Image.open(tmp_path / "out" / "predictions" / f"{name}.png")) for name in ("shallow", "deep")]
    np.testing.assert_array_equal(*maps)
    assert len(np.unique(maps[0])) > 1
    overlays = [Image.open(tmp_path / "out" / "overlays" / f"{name}.jpg").size for name in ("shallow", "deep")]
    assert overlays[0] == overlays[1]


def test_pictures_of_other_bands_end_in_a_sentence(
    run: Path, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "rgb.png")
    words = ["predict", "--checkpoint", str(run), "--output", str(tmp_path / "out"), "--input"]
    assert main([*words, str(tmp_path / "rgb.png")]) == 1
    assert "rgb.png: has 3 bands, but the model reads 4 (model.input.channels)" in " ".join(
        capsys.readouterr().err.split()
    )
    predictor = Predictor(load_model(run))
    with pytest.raises(DatasetError, match=r"array uint8 \[64, 64, 3\]: an image is uint8 \[H, W, 4\] for this model"):
        predictor(picture)
    with pytest.raises(DatasetError, match="Pillow image: this model reads 4 bands"):
        predictor(Image.fromarray(picture))
    settings = replace(config.data, on_bad_sample="raise")
    with pytest.raises(DatasetError, match="has 4 bands, but the model reads 5"):
        load_data(settings, 0, Console(quiet=True), bands=5)


def test_what_takes_rgb_alone_says_so(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"reads 4 bands.* models of RGB alone are exported"):
        export_model(load_model(run), tmp_path / "exported", ExportSettings())
    with pytest.raises(ConfigError, match=r"mine: reads 4 bands.* models of RGB alone are served"):
        ServedModel("mine", Predictor(load_model(run)))
