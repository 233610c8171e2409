"""A model in three graphs gives what it gives in one, and so does OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from panoptic_blend.exporting.export import export_model
from panoptic_blend.exporting.graph import build_graph, build_stages, network_alone
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from tests.exporting.test_graph import lively_model, picture

SIZES = [(1, 1), (1, 300), (37, 53), (90, 120)]


@pytest.fixture(scope="module")
def model() -> PanopticBlend:
    return lively_model()


@pytest.mark.parametrize(("size", "half"), [(None, False), (None, True), ((37, 53), False)])
def test_three_graphs_one_after_the_other_are_the_whole_graph(
    model: PanopticBlend, size: tuple[int, int] | None, half: bool
):
    def run(graph: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(graph.SerializeToString())
        names = [each.name for each in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))

    network = network_alone(model, half, size)
    before, after = build_stages(model, network, half, size)
    whole = build_graph(model, half, size, network)
    thresholds = {"min_score": np.array(0.68, np.float32)}
    for height, width in SIZES if size is None else [size]:
        image = {"image": picture(height, width)}
        found = run(after, {**image, **thresholds, **run(network, run(before, image))})
        expected = run(whole, image | thresholds)
        assert len(expected["scores"])
        for name, values in expected.items():
            if not half:
                np.testing.assert_array_equal(found[name], values)
            elif name != "segments":  # added up in another order where nodes are fused across the borders of the three
                assert np.isclose(found[name], values, rtol=0, atol=1e-3).mean() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_openvino_sees_what_onnxruntime_sees(model: PanopticBlend, precision: str, tmp_path: Path):
    pytest.importorskip("openvino")
    opened = []
    for name in ("onnx", "openvino"):
        export_model(model, tmp_path / name, ExportSettings(format=name, precision=precision))  # type: ignore[arg-type]
        opened.append(ExportedModel(tmp_path / name))
    tolerance = 1e-4 if precision == "fp32" else 2e-3
    for min_score in (model.settings.min_score, 0.7):
        for each in opened:
            each.settings.min_score = min_score
        for size in SIZES:
            ours, theirs = (each.predict([picture(*size)])[0] for each in opened)
            assert [(each.category_id, each.score) for each in theirs.segments] == [
                (each.category_id, pytest.approx(each.score, abs=tolerance)) for each in ours.segments
            ]
            assert (ours.id_map == theirs.id_map).mean() > (0.995 if precision == "fp32" else 0.97)
