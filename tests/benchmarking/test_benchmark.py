from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from panoptic_blend.benchmarking.benchmark import Settings, measure, run_benchmark
from panoptic_blend.benchmarking.firing import fire_detections
from panoptic_blend.benchmarking.image import draw_image
from panoptic_blend.benchmarking.memory import peak_memory
from panoptic_blend.benchmarking.peak import count_operations, measure_peak
from panoptic_blend.benchmarking.stages import NETWORK, PREDICT, STAGES
from panoptic_blend.benchmarking.timing import Clock, Timing
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.cli import main
from panoptic_blend.modeling.build import build_model
from panoptic_blend.synthetic.scene import SHAPES
from tests.tiny import tiny_model_config

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_model(build_model(tiny_model_config(), SHAPES), path)
    return path


@pytest.mark.parametrize(
    ("instances", "size"), [(1, (128, 192)), (10, (128, 192)), (40, (128, 192)), (300, (256, 384))]
)
def test_random_weights_fire_so_many_detections(instances: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_model_config(), SHAPES).train()
    image = torch.from_numpy(draw_image(*size)).permute(2, 0, 1)
    fire_detections(model, image, instances)
    assert model.training
    (prediction,) = model.predict([image])
    assert len(prediction.instances) == instances
    assert prediction.instances.scores.min() >= model.settings.min_score


def test_an_image_too_small_for_so_many_gets_what_it_can_hold() -> None:
    torch.manual_seed(0)
    model = build_model(tiny_model_config(), SHAPES)
    image = torch.from_numpy(draw_image(64, 64)).permute(2, 0, 1)
    fire_detections(model, image, 10_000)
    (prediction,) = model.predict([image])
    assert 0 < len(prediction.instances) < 10_000


def test_a_checkpoint_resizes_as_in_prediction_and_random_weights_do_not(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twice the side, an image has four times the operations, unless the model brings both to one size."""
    monkeypatch.setattr("panoptic_blend.benchmarking.benchmark.measure_peak", lambda *_: {"matmul": 1.0, "conv": 1.0})
    overrides = ["--model.fpn.channels", "16", "--model.backbone.name", "resnet18", "--model.backbone.width", "8"]
    for source, changes, factor in (
        (checkpoint, [], 1),
        (checkpoint, ["--model.input.shortest_edge", "128", "--model.input.longest_edge", "256"], 1),
        ("coco/panoptic_r50_3x.yaml", overrides, 4),
        ("coco/panoptic_r50_3x.yaml", [*overrides, "--model.input.shortest_edge", "256"], 1),
    ):
        small, large = (
            measure(Settings(source, changes, size, instances=1, rounds=1, precision="fp32"))["network_operations"]
            for size in ((256, 384), (512, 768))
        )
        assert large == pytest.approx(factor * small, rel=1e-3)


def test_every_stage_is_measured(checkpoint: Path) -> None:
    measured = measure(Settings(checkpoint, size=(64, 96), batch=2, precision="fp32", rounds=3))
    assert list(measured["milliseconds"]) == [*STAGES, NETWORK, PREDICT]
    assert all(timing["median"] > 0 and timing["spread"] >= 0 for timing in measured["milliseconds"].values())
    assert measured["images_per_second"] == pytest.approx(2000 / measured["milliseconds"][PREDICT]["median"])
    assert measured["peak_memory"] > 0
    assert measured["share_of_peak"] == measured["achieved"] / max(measured["peak"].values())
    json.dumps(measured)


def test_the_command_prints_a_table_and_writes_json(checkpoint: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "new" / "speed.json"
    arguments = ["benchmark", "--checkpoint", str(checkpoint), "--size", "64x96", "--rounds", "2"]
    assert main([*arguments, "--precision", "bf16", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert all(stage in printed for stage in (*STAGES, NETWORK, PREDICT))
    assert json.loads(output.read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--size", "800", "800x1216"),
        ("--size", "31x64", "32 pixels"),
        ("--rounds", "0", "1 or more"),
        ("--batch", "0", "1"),
        ("--classes", "1", "2 or more"),
    ],
)
def test_impossible_settings_are_refused(option: str, value: str, said: str, capsys) -> None:
    assert main(["benchmark", option, value]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("surplus", [["--config", "coco/panoptic_r50_3x.yaml"], ["--model.fpn.channels", "32"]])
def test_a_checkpoint_brings_its_own_network(surplus: list[str], checkpoint: Path, capsys) -> None:
    assert main(["benchmark", "--checkpoint", str(checkpoint), *surplus]) == 2
    assert surplus[0] in capsys.readouterr().err


def test_a_configuration_gets_random_weights(tmp_path: Path) -> None:
    overrides = ["--model.fpn.channels", "16", "--model.backbone.name", "resnet18", "--model.backbone.width", "8"]
    settings = Settings("coco/panoptic_r50_3x.yaml", overrides, (128, 160), instances=5, rounds=1, precision="fp32")
    console = Console(file=io.StringIO(), width=120)
    measured = run_benchmark(settings, None, console)
    assert measured["detections"] == 5
    assert "GFLOP" in console.file.getvalue()


def test_operations_are_counted_as_convolutions_are_defined() -> None:
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    assert count_operations(convolution, torch.zeros(2, 3, 10, 20)) == 2 * 2 * 3 * 5 * 9 * 10 * 20 / 1e9
    assert convolution.weight.device == CPU


def test_peaks_are_positive() -> None:
    peak = measure_peak(CPU, torch.float32, 1)
    assert peak.keys() == {"matmul", "conv"}
    assert min(peak.values()) > 0
    assert peak_memory(CPU) > 10


def test_the_clock_keeps_every_measurement() -> None:
    clock = Clock(CPU)
    for _ in range(3):
        with clock.measure("nothing"):
            pass
    assert len(clock.seconds["nothing"]) == 3
    assert Timing.of([0.004, 0.001, 0.002, 0.003]) == Timing(2.5, pytest.approx(1.0))
