"""Two images of COCO itself: read, written, scored, and learnt by heart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.evaluation.pq import panoptic_quality
from panoptic_blend.inference.evaluate import true_segments

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "coco_sample" / "overfit.yaml"


@pytest.fixture
def sample(shared: Path) -> Path:
    return shared / "datasets" / "coco_sample"


@pytest.mark.parametrize("engine", ["builtin", "panopticapi"])
def test_the_exported_truth_scores_100(sample: Path, tmp_path: Path, engine: str) -> None:
    if engine == "panopticapi":
        pytest.importorskip("panopticapi")
    truth = PanopticAnnotations.load(sample / "annotations" / "panoptic_val.json")
    crowds = 0
    with PredictionWriter(tmp_path, truth.categories) as writer:
        for record in truth:
            id_map = read_segments(record, truth.default_segments_folder, truth.categories, truth.path).copy()
            for segment in record.segments:
                if segment.is_crowd:
                    id_map[id_map == segment.id] = 0
                    crowds += 1
            writer.write(record, id_map, true_segments(record, truth.categories))
    assert crowds == 3
    result = panoptic_quality(truth.path, tmp_path / "predictions.json", workers=1, engine=engine)
    assert (result.all.pq, result.things.n, result.stuff.n) == (1, 4, 4)
    assert {row.category.name: (row.tp, row.fp, row.fn) for row in result.per_class if row.tp + row.fp + row.fn} == {
        "person": (26, 0, 0),
        "truck": (2, 0, 0),
        "horse": (11, 0, 0),
        "sports ball": (1, 0, 0),
        "gravel": (1, 0, 0),
        "tree-merged": (2, 0, 0),
        "sky-other-merged": (2, 0, 0),
        "grass-merged": (2, 0, 0),
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_images_are_learnt_by_heart(sample: Path, tmp_path: Path) -> None:
    run, output, truth = tmp_path / "run", tmp_path / "out", sample / "annotations" / "panoptic_val.json"
    assert main(["train", "--config", str(CONFIG), "--data.root", str(sample), "--trainer.output", str(run)]) == 0
    arguments = ["--checkpoint", str(run), "--images", str(sample / "val"), "--annotations", str(truth)]
    assert main(["evaluate", *arguments, "--output", str(output)]) == 0
    found = json.loads((output / "metrics.json").read_text())["PQ"]
    assert found >= 90
    for engine in ("builtin", "panopticapi"):
        scored = panoptic_quality(truth, output / "predictions.json", workers=1, engine=engine)
        assert 100 * scored.all.pq == pytest.approx(found, abs=1e-9)
