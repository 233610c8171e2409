from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from panoptic_blend.cli import main
from panoptic_blend.errors import ConfigError
from panoptic_blend.inference.augmented_model import View, join, parse_views, resample
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Instances
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


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("flip", [View(1, False), View(1, True)]),
        ("scales=0.5,1", [View(0.5, False), View(1, False)]),
        ("flip,scales=2,1,2", [View(2, False), View(2, True), View(1, False), View(1, True)]),
    ],
)
def test_views_are_spelled_in_one_word(text: str, views: list[View]) -> None:
    assert parse_views(text) == views


@pytest.mark.parametrize("text", ["", "flip,", "flip,flip", "flipscales=1", "scales=", "scales=0.1", "scales=9", "x"])
def test_other_spellings_are_told_the_right_ones(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write flip, scales=0.75,1,1.25 or .* from 0.25 to 4"):
        parse_views(text)


@pytest.mark.parametrize("size", [(50, 70), (64, 96), (9, 1)])
def test_one_plain_view_is_the_plain_prediction(model: PanopticBlend, size: tuple[int, int]) -> None:
    image = picture(*size)
    plain, one = Predictor(model, "cpu", "fp32")(image), Predictor(model, "cpu", "fp32", tta="scales=1")(image)
    assert [(s.category_id, s.area) for s in one.segments] == [(s.category_id, s.area) for s in plain.segments]
    np.testing.assert_allclose([s.score for s in one.segments], [s.score for s in plain.segments], rtol=1e-5)
    assert (one.id_map == plain.id_map).mean() > 0.999


def test_a_mirrored_picture_gives_the_mirrored_map(model: PanopticBlend) -> None:
    """Both views swap their parts: whatever the network is, the mean over them is mirrored."""
    image = picture(64, 96)
    predictor = Predictor(model, "cpu", "fp32", tta="flip")
    straight, mirrored = predictor(image), predictor(np.ascontiguousarray(image[:, ::-1]))
    categories = [{s.id: s.category_id for s in found.segments} | {0: 0} for found in (straight, mirrored)]
    maps = [np.vectorize(of.get)(found.id_map) for of, found in zip(categories, (straight, mirrored), strict=True)]
    assert (maps[0] == maps[1][:, ::-1]).mean() > 0.99
    assert len(straight.segments) > 1


def test_batches_are_predicted_as_one_by_one(model: PanopticBlend) -> None:
    images = [picture(50, 70), picture(50, 70)[::-1].copy()]
    predictor = Predictor(model, "cpu", "fp32", tta="flip,scales=0.5,1")
    for alone, together in zip(map(predictor, images), predictor.predict_batch(images), strict=True):
        assert (alone.id_map == together.id_map).mean() > 0.999


def ramp(height: int, width: int, seen: tuple[int, int]) -> Tensor:
    """[2, height, width] cells at stride 4 of a view: relative y and x of their centers in the view."""
    y, x = ((torch.arange(count) + 0.5) * 4 / length for count, length in zip((height, width), seen, strict=True))
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))


@given(
    st.tuples(st.integers(8, 90), st.integers(8, 90)), st.tuples(st.integers(8, 90), st.integers(8, 90)), st.booleans()
)
def test_resampled_cells_show_the_same_place(seen: tuple[int, int], size: tuple[int, int], flipped: bool) -> None:
    padded = [-(-length // 32) * 8 for length in seen]
    found = resample(ramp(padded[0], padded[1], seen), seen, size, flipped)
    expected = ramp(-(-size[0] // 4), -(-size[1] // 4), size)
    if flipped:
        expected[1] = 1 - expected[1]
    # Beyond the centers of the outermost cells there is nothing to interpolate.
    least, most = ((torch.tensor([2.0, 2.0]) / torch.tensor(seen)), (torch.tensor(padded) * 4 - 2) / torch.tensor(seen))
    torch.testing.assert_close(found, expected.clamp(least[:, None, None], most[:, None, None]), atol=1e-5, rtol=0)


def instances(rows: list[tuple[list[float], float, int, float]]) -> Instances:
    return Instances(
        torch.tensor([row[0] for row in rows], dtype=torch.float32).view(-1, 4),
        torch.tensor([row[1] for row in rows]),
        torch.tensor([row[2] for row in rows], dtype=torch.int64),
        torch.tensor([row[3] for row in rows]).view(-1, 1, 1),
        (100, 100),
    )


def test_detections_that_overlap_are_one_with_the_mean_of_the_views() -> None:
    first = instances([([0, 0, 10, 10], 0.9, 0, 0.8), ([50, 50, 60, 60], 0.6, 0, 0.5)])
    second = instances([([0, 0, 10, 12], 0.3, 0, 0.4), ([0, 0, 10, 10], 0.2, 1, 0.1)])  # another class is another thing
    joined = join([first, second], 0.6, 100)
    torch.testing.assert_close(joined.scores, torch.tensor([0.6, 0.3, 0.1]))
    assert joined.labels.tolist() == [0, 0, 1]
    torch.testing.assert_close(joined.boxes[0], torch.tensor([0, 0, 10, (0.9 * 10 + 0.3 * 12) / 1.2]))
    torch.testing.assert_close(joined.mask_patches[0, 0, 0], torch.tensor((0.9 * 0.8 + 0.3 * 0.4) / 1.2))
    torch.testing.assert_close(joined.boxes[1], torch.tensor([50.0, 50, 60, 60]))
    assert len(join([first, second], 0.6, 1)) == 1


def test_a_detection_is_of_one_thing_with_itself_whatever_the_threshold() -> None:
    view = instances([([0, 0, 10, 10], 0.9, 0, 0.8), ([1, 0, 10, 10], 0.6, 0, 0.5)])
    torch.testing.assert_close(join([view], 1.0, 100).scores, torch.tensor([0.9, 0.6]))


def test_views_without_detections_lower_the_scores_of_others() -> None:
    some, none = instances([([0, 0, 10, 10], 0.9, 0, 0.8)]), instances([])
    for views in ([some, none], [none, some]):
        torch.testing.assert_close(join(views, 0.6, 100).scores, torch.tensor([0.45]))
    assert len(join([none, none], 0.6, 100)) == 0


def test_tiles_are_seen_once(model: PanopticBlend) -> None:
    with pytest.raises(ConfigError, match="take one of them"):
        Predictor(model, tile=64, tta="flip")


def test_commands_take_views(model: PanopticBlend, shapes: Path, tmp_path: Path) -> None:
    from panoptic_blend.checkpoints.native import save_model

    save_model(model, tmp_path / "model.safetensors")
    shared = ["--checkpoint", str(tmp_path / "model.safetensors"), "--tta", "flip"]
    assert main(["predict", *shared, "--input", str(shapes / "val"), "--output", str(tmp_path / "out")]) == 0
    truth = shapes / "annotations" / "panoptic_val.json"
    evaluated = ["evaluate", *shared, "--images", str(shapes / "val"), "--annotations", str(truth)]
    assert main([*evaluated, "--sweep", "--output", str(tmp_path / "evaluated")]) == 0
    assert (tmp_path / "evaluated" / "sweep.json").is_file()
    # Other views are another result.
    others = [*shared[:-1], "scales=1", "--input", str(shapes / "val"), "--output", str(tmp_path / "out")]
    assert main(["predict", *others]) == 1
