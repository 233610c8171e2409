from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import ConfigError
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.tiles import cut
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import talkative_model_config


@pytest.fixture(scope="module")
def model() -> PanopticBlend:
    torch.manual_seed(0)
    return build_model(talkative_model_config(), SHAPES)


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8))
    return np.array(small.resize((width, height)))


@pytest.mark.parametrize("size", [(50, 70), (64, 96), (40, 1), (96, 33)])
def test_a_picture_of_one_tile_is_predicted_as_it_is(model: PanopticBlend, size: tuple[int, int]) -> None:
    image = picture(*size)
    found = Predictor(model, "cpu", "fp32", tile=96, overlap=32)(image)
    whole = Predictor(model, "cpu", "fp32").engine.model.predict([to_tensor(image)])[0]
    assert [(s.category_id, s.is_thing, s.area) for s in found.segments] == [
        (s.category_id, s.is_thing, s.area) for s in whole.segments
    ]
    np.testing.assert_allclose([s.score for s in found.segments], [s.score for s in whole.segments], rtol=1e-6)
    assert np.array_equal(found.id_map, whole.id_map)


def test_tiles_in_the_corners_are_predicted_as_pictures_of_their_own(model: PanopticBlend) -> None:
    image = picture(150, 200)
    predictor = Predictor(model, "cpu", "fp32", tile=96, overlap=32)
    found = predictor(image)
    assert found.id_map.shape == (150, 200)
    assert {segment.id for segment in found.segments} == set(np.unique(found.id_map)) - {0}
    assert all(segment.area == (found.id_map == segment.id).sum() for segment in found.segments)
    rows, columns = cut(150, 96, 32), cut(200, 96, 32)
    alone = predictor(image[: rows[0].stop, : columns[0].stop])
    for label in SHAPES.things:  # stuff is blended with the neighbours', things are not
        ours = np.isin(found.id_map, [s.id for s in found.segments if s.category_id == label.id])
        theirs = np.isin(alone.id_map, [s.id for s in alone.segments if s.category_id == label.id])
        corner = np.s_[: rows[0].free_stop, : columns[0].free_stop]
        assert np.array_equal(ours[corner], theirs[corner])


def test_commands_predict_by_tiles(model: PanopticBlend, shapes: Path, tmp_path: Path, capsys) -> None:
    from panoptic_blend.checkpoints.native import save_model

    save_model(model, tmp_path / "model.safetensors")
    truth = shapes / "annotations" / "panoptic_val.json"
    tiles = ["--tile", "64", "--overlap", "16"]
    shared = ["--checkpoint", str(tmp_path / "model.safetensors"), *tiles]
    assert main(["predict", *shared, "--input", str(shapes / "val"), "--output", str(tmp_path / "out")]) == 0
    evaluated = ["evaluate", *shared, "--images", str(shapes / "val"), "--annotations", str(truth)]
    assert main([*evaluated, "--output", str(tmp_path / "evaluated")]) == 0
    number = len(PanopticAnnotations.load(truth).image_ids)
    for folder in ("out", "evaluated"):
        assert len(list((tmp_path / folder / "predictions").glob("*.png"))) == number
    assert "mask AP is left out" in capsys.readouterr().out
    # Whole pictures are another result.
    whole = ["evaluate", *shared[:2], "--images", str(shapes / "val"), "--annotations", str(truth)]
    assert main([*whole, "--output", str(tmp_path / "evaluated")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*evaluated, "--sweep", "--output", str(tmp_path / "swept")]) == 2
    assert "no --tile" in capsys.readouterr().err


def test_a_tiling_that_cannot_be_is_refused(model: PanopticBlend) -> None:
    with pytest.raises(ConfigError, match="tile 50: give a multiple of 32 pixels"):
        Predictor(model, "cpu", "fp32", tile=50)
