"""A model trained as in the demo, on films of moving shapes: tracked, they score nearly as well as frame by frame."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from rich.console import Console

from panoptic_blend.checkpoints.native import load_model
from panoptic_blend.coco.truth import TruthWriter
from panoptic_blend.config_files import read_config
from panoptic_blend.evaluation.film_quality import FilmResult, film_quality
from panoptic_blend.inference.film_writing import FilmWriter, write_film
from panoptic_blend.inference.films import Film
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.synthetic.shapes import generate_shapes
from panoptic_blend.training.run import train

from .moving_shapes import moving_shapes

pytest.importorskip("av")
ROOT = Path(__file__).parents[2]
FRAMES = 30


def make_film(root: Path) -> Path:
    """`film.mp4` and its truth, whose images are frames."""
    with FilmWriter(root / "film.mp4", Fraction(10)) as film, TruthWriter(root, "film", SHAPES) as truth:
        for frame, scene in enumerate(moving_shapes(11, FRAMES)):
            film.add(scene.image)
            truth.write(f"film/{frame:06d}.png", scene.id_map, scene.segments)
    data = json.loads(truth.json_path.read_text())
    for frame, image in enumerate(data["images"]):
        image |= {"video_id": "film", "frame_id": frame}
    truth.json_path.write_text(json.dumps(data))
    return truth.json_path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_trained_model_keeps_nine_tenths_of_its_pq_over_films(tmp_path: Path):
    config = read_config([ROOT / "configs" / "shapes" / "r18.yaml"])
    config.data.root = str(generate_shapes(tmp_path / "data", train=200, val=1))
    config.trainer.output = str(tmp_path / "run")
    train(config, console=Console(quiet=True))
    predictor = Predictor(load_model(tmp_path / "run"), "cpu", "fp32")
    truth = make_film(tmp_path)

    def score(track: bool) -> FilmResult:
        output = tmp_path / f"out{track}"
        write_film(predictor, Film(str(tmp_path / "film.mp4")), output, Console(quiet=True), track=track)
        return film_quality(truth, output / "predictions.json")

    tracked, untracked = score(True), score(False)
    assert tracked.pq.all.pq == pytest.approx(untracked.pq.all.pq)
    assert tracked.pq.all.pq > 0.4
    assert tracked.vpq.all >= 0.9 * tracked.pq.all.pq
    assert tracked.vpq.all > untracked.vpq.all
