from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.cli import main
from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import ConfigError
from panoptic_blend.inference.explain import Explanation, choose, explain
from panoptic_blend.inference.explanation_figure import draw_explanation
from panoptic_blend.inference.torch_model import TorchModel
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.modeling.postprocess.merge import Placement
from tests.tiny import tiny_model_config_with

NAMES = (("ball", 1), ("box", 1), ("sky", 0), ("grass", 0))
CATEGORIES = Categories.from_json([{"id": i, "name": n, "isthing": t} for i, (n, t) in enumerate(NAMES, start=1)])
PICTURE = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)


def talkative_model(head: str) -> PanopticBlend:
    """Untrained, but with boxes, masks and stuff of some size."""
    torch.manual_seed(1)
    config = tiny_model_config_with(head)
    config.fcos.score_threshold = 0.0
    config.merge.min_score = 0.05
    config.merge.min_stuff_area = 200
    model = build_model(config, CATEGORIES)
    detector = model.network.head
    torch.nn.init.constant_(detector.distances.bias, 1.5)  # type: ignore[arg-type]
    torch.nn.init.normal_(model.mask_head.top_layer.weight, std=0.5)  # type: ignore[union-attr, arg-type]
    return model.eval()


def test_thousands_of_instances_are_counted_where_they_cannot_all_be_listed() -> None:
    one = explain(TorchModel(talkative_model("blender"), "cpu"), PICTURE, instances=0)
    heights, counted = [], []
    for kept in (101, 4000):
        many = replace(one, placements=[Placement(0, number, 0, 0) for number in range(1, kept + 1)])
        figure = draw_explanation(many, CATEGORIES)
        heights.append(figure.get_size_inches()[1])
        counted.append([text.get_text() for text in figure.findobj(Text) if "more kept" in text.get_text()])
    assert heights[0] == heights[1]
    assert [text.splitlines()[-2] for (text,) in counted] == ["and 1 more kept", "and 3900 more kept"]


@pytest.fixture(scope="module", params=["blender", "blender_of_one_basis"])
def explanation(request: pytest.FixtureRequest) -> Explanation:
    return explain(TorchModel(talkative_model(request.param), "cpu"), PICTURE, instances=2)


def test_what_is_shown_is_what_was_predicted(explanation: Explanation) -> None:
    assert explanation.image.shape[1:] == explanation.prediction.id_map.shape
    assert len(explanation.blends) == 2
    for blend in explanation.blends:
        if len(blend.weights) > 1:
            probability = (blend.weights * blend.regions).sum(dim=0).sigmoid()
            torch.testing.assert_close(blend.weights.sum(dim=0), torch.ones_like(blend.logits))
        else:
            probability = blend.weights[0] * blend.regions[0].sigmoid()
        shown = explanation.prediction.instances.mask_patches[blend.placement.index]
        torch.testing.assert_close(probability, shown)
        torch.testing.assert_close(blend.logits.sigmoid(), shown)
        assert torch.equal(blend.box, explanation.prediction.instances.boxes[blend.placement.index])


def test_instances_of_equal_masks_keep_their_own_attention() -> None:
    plain, saturated = talkative_model("blender"), talkative_model("blender")
    torch.nn.init.constant_(saturated.network.bases.predictor.bias, 40.0)  # type: ignore[union-attr, arg-type]
    first, second = (
        {blend.placement.index: blend for blend in explain(TorchModel(model, "cpu"), PICTURE, instances=50).blends}
        for model in (plain, saturated)
    )
    assert len(first.keys() & second.keys()) > 1
    for index in first.keys() & second.keys():
        assert torch.equal(first[index].box, second[index].box)
        torch.testing.assert_close(first[index].weights, second[index].weights)


def test_the_decisions_are_those_of_the_map(explanation: Explanation) -> None:
    segments = {segment.id: segment for segment in explanation.prediction.segments}
    kept = [each for each in explanation.placements if each.segment_id]
    assert {each.segment_id for each in kept} == {s.id for s in segments.values() if s.is_thing}
    assert any(each.segment_id == 0 for each in explanation.placements)
    assert all(segments[each.segment_id].area == each.free_area for each in kept)
    stuff = {s.category_id: s.area for s in segments.values() if not s.is_thing}
    areas = dict(zip((3, 4), explanation.stuff_areas, strict=True))
    assert stuff == {category: area for category, area in areas.items() if area >= 200}


def test_every_category_is_shown_before_any_twice() -> None:
    areas = [50, 90, 0, 70, 10]
    placements = [Placement(i, 0 if area == 0 else i + 1, 100, area) for i, area in enumerate(areas)]
    chosen = choose(placements, [0, 0, 1, 0, 1], count=3)
    assert [each.index for each in chosen] == [1, 4, 3]


def test_the_picture_tells_every_decision(explanation: Explanation) -> None:
    figure = draw_explanation(explanation, CATEGORIES)
    texts = "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
    kept = sum(each.segment_id > 0 for each in explanation.placements)
    assert texts.count(": kept") == kept
    assert texts.count("left out, ") == min(len(explanation.placements) - kept, 6)
    assert f"{explanation.stuff_areas[0]} pixels" in texts


def test_the_explanation_is_that_of_the_prediction_whatever_the_settings() -> None:
    engine = TorchModel(talkative_model("blender"), "cpu", "fp32")
    counts = set()
    for min_score in (0.05, 0.2, 0.3, 1.0):
        engine.settings.min_score = min_score
        explanation, model = explain(engine, PICTURE), engine.model
        (expected,) = model.predict([model.resize(to_tensor(PICTURE))])
        kept = sum(each.segment_id > 0 for each in explanation.placements)
        counts.add(kept)
        assert kept == sum(segment.is_thing for segment in expected.segments)
        assert np.array_equal(explanation.prediction.id_map, expected.id_map)
        assert explanation.settings.min_score == min_score
    assert len(counts) > 1, "the thresholds must matter here"


def test_a_picture_without_detections_has_bases_and_stuff_to_show() -> None:
    model = talkative_model("blender")
    model.settings.min_score = 1.0
    explanation = explain(TorchModel(model, "cpu"), PICTURE)
    assert explanation.blends == []
    draw_explanation(explanation, CATEGORIES).canvas.draw()


def test_other_mask_heads_have_no_attention_to_show() -> None:
    with pytest.raises(ConfigError, match="'fcis'"):
        explain(TorchModel(build_model(tiny_model_config_with("fcis"), CATEGORIES), "cpu"), PICTURE)


def test_the_command_writes_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(talkative_model("blender"), tmp_path / "model.safetensors")
    Image.fromarray(PICTURE).save(tmp_path / "a view.png")
    arguments = ["--checkpoint", str(tmp_path / "model.safetensors"), "--input", str(tmp_path / "a view.png")]
    assert main(["explain", *arguments, "--output", str(tmp_path / "out")]) == 0
    assert "a view_explained.png" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "a view_explained.png") as picture:
        assert picture.width > 1000
