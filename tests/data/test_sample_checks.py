from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.segments_png import read_id_map, write_id_map
from panoptic_blend.data.sample_checks import check_samples
from panoptic_blend.errors import DatasetError


@pytest.fixture
def damaged(shapes: Path, tmp_path: Path) -> Path:
    """Seven samples of which numbers 1 (image cut), 2 (image size), 4 (stray id) and 5 (no id map) are bad."""
    root = tmp_path / "damaged"
    shutil.copytree(shapes, root)
    images, segments = root / "train", root / "panoptic_train"
    cut = images / "train_000001.jpg"
    cut.write_bytes(cut.read_bytes()[:-1500])
    Image.fromarray(np.zeros((10, 10, 3), dtype=np.uint8)).save(images / "train_000002.jpg")
    id_map = read_id_map(segments / "train_000004.png").copy()
    id_map[0, 0] = 77
    write_id_map(segments / "train_000004.png", id_map)
    (segments / "train_000005.png").unlink()
    return root


def annotations_of(root: Path) -> PanopticAnnotations:
    return PanopticAnnotations.load(root / "annotations" / "panoptic_train.json")


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_reports_every_bad_sample(damaged: Path, workers: int) -> None:
    good, bad = check_samples(
        annotations_of(damaged), damaged / "train", damaged / "panoptic_train", "skip", workers=workers
    )
    assert good.tolist() == [0, 3, 6]
    assert [sample.file_name for sample in bad] == [f"train_00000{n}.jpg" for n in (1, 2, 4, 5)]
    for sample, reason in zip(
        bad, ["cannot be decoded", "10 x 10 pixels", "77", r"000005.png: no such file"], strict=True
    ):
        assert reason in sample.reason


@pytest.mark.parametrize("workers", [0, 2])
def test_raise_stops_at_the_first(damaged: Path, workers: int) -> None:
    with pytest.raises(DatasetError, match=r"train_000001\.jpg: cannot be decoded"):
        check_samples(annotations_of(damaged), damaged / "train", damaged / "panoptic_train", workers=workers)


def test_an_area_that_no_prediction_could_be_scored_against_is_a_bad_sample(shapes: Path, tmp_path: Path) -> None:
    content = json.loads((shapes / "annotations" / "panoptic_train.json").read_text())
    content["annotations"][3]["segments_info"][0]["area"] -= 1
    content["annotations"][4]["segments_info"][0]["area"] += 1  # noted when scored
    (tmp_path / "areas.json").write_text(json.dumps(content))
    annotations = PanopticAnnotations.load(tmp_path / "areas.json")
    good, (bad,) = check_samples(annotations, shapes / "train", shapes / "panoptic_train", "skip")
    assert good.tolist() == [0, 1, 2, 4, 5, 6]
    area = content["annotations"][3]["segments_info"][0]["area"]
    assert f"has area {area}, but {area + 1} pixels in its PNG" in bad.reason


def test_good_data_passes_with_a_progress_bar(shapes: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    good, bad = check_samples(annotations_of(shapes), shapes / "train", shapes / "panoptic_train", console=console)
    assert good.tolist() == list(range(7))
    assert not bad
    assert "panoptic_train.json" in console.file.getvalue()  # type: ignore[attr-defined]


def test_coco_sample_holds_together(shared: Path) -> None:
    root = shared / "datasets" / "coco_sample"
    annotations = PanopticAnnotations.load(root / "annotations" / "panoptic_val.json")
    good, bad = check_samples(annotations, root / "val", annotations.default_segments_folder)
    assert (good.tolist(), bad) == ([0, 1], [])
