from __future__ import annotations

import mmap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from panoptic_blend.cli import main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import ConfigError
from panoptic_blend.files import on_disk, tiff
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


def test_a_large_tiff_is_predicted_row_by_row_as_when_it_is_decoded_whole(
    model: PanopticBlend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    image = picture(300, 200)
    tifffile.imwrite(tmp_path / "picture.tif", image, photometric="rgb", tile=(64, 64), compression="zlib")
    expected = Predictor(model, "cpu", "fp32", tile=96, overlap=32)(image)
    monkeypatch.setattr(tiff, "LARGE", 1)
    monkeypatch.setattr(on_disk, "LARGE", 1)
    monkeypatch.setattr(on_disk, "_STRIP", 5000)
    predictor = Predictor(model, "cpu", "fp32", tile=96, overlap=32)
    parts: list[float] = []
    predictor.watch = parts.append
    found = predictor(tmp_path / "picture.tif")
    assert isinstance(found.image, tiff.RowsOfTiff)
    assert isinstance(found.id_map.base, mmap.mmap)
    assert np.array_equal(found.id_map, expected.id_map)
    assert found.segments == expected.segments
    assert found.overlay().size == expected.overlay().size
    number = len(cut(300, 96, 32)) * len(cut(200, 96, 32))
    assert parts == [(index + 1) / number for index in range(number)]
    # The same file and the same segments from the command, drawn too.
    from panoptic_blend.checkpoints.native import save_model

    save_model(model, tmp_path / "model.safetensors")
    arguments = ["--checkpoint", str(tmp_path / "model.safetensors"), "--tile", "96", "--overlap", "32"]
    arguments += ["--input", str(tmp_path / "picture.tif"), "--output", str(tmp_path / "out"), "--overlays"]
    assert main(["predict", *arguments, "--precision", "fp32"]) == 0
    assert np.array_equal(read_id_map(tmp_path / "out" / "predictions" / "picture.png"), expected.id_map)
    assert (tmp_path / "out" / "overlays" / "picture.jpg").is_file()


def test_a_picture_beyond_the_bound_is_a_choice(
    model: PanopticBlend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from panoptic_blend.checkpoints.native import save_model

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    save_model(model, tmp_path / "model.safetensors")
    Image.fromarray(picture(80, 90)).save(tmp_path / "picture.png")
    arguments = ["predict", "--checkpoint", str(tmp_path / "model.safetensors"), "--tile", "96", "--overlap", "32"]
    arguments += ["--input", str(tmp_path / "picture.png"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "Allow more by --max-pixels" in capsys.readouterr().err
    with warnings.catch_warnings():
        assert main([*arguments, "--max-pixels", "7198"]) == 1
        assert main([*arguments, "--max-pixels", "7200"]) == 0
