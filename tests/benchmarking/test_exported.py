"""An exported folder is timed from disk to disk, and what would not apply to it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from panoptic_blend.cli import main
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.inference.predictor import Predictor
from tests.runtime.graphs import stuff_graph, write_export


@pytest.fixture
def exported(tmp_path: Path) -> str:
    return str(write_export(tmp_path / "exported", stuff_graph()))


def test_every_round_but_the_first_is_measured(
    exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, ...]] = []
    seconds = iter(range(1000))
    predict = Predictor.__call__

    def note(predictor: Predictor, image: object) -> Prediction:
        seen.append(image.shape)  # type: ignore[attr-defined]
        return predict(predictor, image)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "__call__", note)
    monkeypatch.setattr("panoptic_blend.benchmarking.timing.time.perf_counter", lambda: float(next(seconds)))
    arguments = ["--checkpoint", exported, "--size", "40x60", "--rounds", "4", "--model.merge.min_score", "0.2"]
    assert main(["benchmark", *arguments, "--output", str(tmp_path / "speed.json")]) == 0
    assert seen == [(40, 60, 3)] * 5
    measured = json.loads((tmp_path / "speed.json").read_text())
    assert measured["milliseconds"] == {name: {"median": 1000, "spread": 0} for name in ("load", "predict", "encode")}
    assert (measured["images_per_second"], measured["segments"], measured["size"]) == (1, 1, [40, 60])
    assert measured["model"]["merge"]["min_score"] == 0.2
    assert "1 images/s, 1 segments each, fp32 in onnxruntime on cpu" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--batch", "2"], "one image at a time"),
        (["--compile"], "compile: "),
        (["--precision", "bf16"], "precision 'bf16': "),
        (["--config", "shapes/r18.yaml"], "both name a model"),
        (["--model.fcos.nms_iou", "0.3"], "built into its graph"),
    ],
)
def test_what_does_not_apply_is_refused(
    option: list[str], said: str, exported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "--checkpoint", exported, "--size", "40x60", *option]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
