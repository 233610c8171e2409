"""An exported folder stands in for a checkpoint: the same predictions, files and metrics, without torch."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import panoptic_blend as pb
from panoptic_blend.checkpoints.native import load_model, save_model
from panoptic_blend.cli import NOT_FOR_EXPORTED, main
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.errors import CheckpointError, ConfigError
from panoptic_blend.exporting.export import export_model
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.inference.evaluate import SWEEP_GRID, evaluate
from panoptic_blend.inference.sources import ImageFiles, find_images
from panoptic_blend.inference.writing import write_predictions
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.synthetic.shapes import generate_shapes
from tests.exporting.test_graph import lively_model, picture
from tests.runtime.graphs import stuff_graph, write_export

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)
NO_TORCH = f"""
import sys

NAMES = {sorted(NOT_FOR_EXPORTED)}

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NAMES:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, NoTorch())
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as `model.safetensors` and exported into `exported`, and annotated images in `data` of its own size."""
    root = tmp_path_factory.mktemp("exported")
    model = lively_model(SHAPES)
    model.settings.shortest_edge, model.settings.longest_edge = 160, 224  # no resizing, which rounds in its own way
    save_model(model, root / "model.safetensors")
    export_model(model, root / "exported", ExportSettings())
    generate_shapes(root / "data", train=1, val=3)
    return root


@pytest.fixture
def exported(root: Path) -> pb.Predictor:
    return pb.Predictor(pb.load(root / "exported"))


@pytest.fixture(scope="module")
def native(root: Path) -> pb.Predictor:
    return pb.Predictor(pb.load(root / "model.safetensors"), "cpu", "fp32", tiles=False)


def test_predictions_are_those_of_the_checkpoint(
    exported: pb.Predictor, native: pb.Predictor, tmp_path: Path, root: Path
) -> None:
    images = [picture(160, 224), picture(160, 160, seed=1)]
    for image, found, expected in zip(images, exported.predict_many(images), native.predict_batch(images), strict=True):
        assert len(expected.segments) > 1
        assert len(found.segments) == len(expected.segments)
        for ours, wanted in zip(found.segments, expected.segments, strict=True):
            assert (ours.category_id, ours.is_thing) == (wanted.category_id, wanted.is_thing)
            assert ours.score == pytest.approx(wanted.score, abs=1e-4)
            assert ours.area == (found.id_map == ours.id).sum()
        assert (found.id_map == expected.id_map).mean() > 0.995
        assert found.categories == expected.categories
        assert np.array_equal(found.image, image)
    assert found.overlay().size == expected.overlay().size
    for name, prediction in (("ours", found), ("wanted", expected)):
        prediction.save(tmp_path / f"{name}.png")
    assert np.array_equal(read_id_map(tmp_path / "ours.png"), found.id_map)


def test_every_form_of_a_picture_is_taken(exported: pb.Predictor, tmp_path: Path) -> None:
    array = picture(50, 70)
    Image.fromarray(array).save(tmp_path / "picture.png")
    expected = exported(array)
    for form in (tmp_path / "picture.png", Image.fromarray(array), torch.from_numpy(array).permute(2, 0, 1)):
        found = exported(form)
        assert np.array_equal(found.id_map, expected.id_map)
        assert found.segments == expected.segments


def test_thresholds_can_be_changed(exported: pb.Predictor, native: pb.Predictor) -> None:
    image = picture(160, 224)
    before, usual = native.settings.min_score, len(exported(image).segments)
    for predictor in (exported, native):
        predictor.settings.min_score = 0.72
    found, expected = len(exported(image).segments), len(native(image).segments)
    native.settings.min_score = before
    assert found == expected < usual


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"device": "cuda"}, "device 'cuda'"),
        ({"precision": "bf16"}, "precision 'bf16'"),
        ({"compile": True}, "compile"),
        ({"tiles": False}, "no tiles"),
    ],
)
def test_what_an_exported_model_cannot_do_is_refused(options: dict[str, object], named: str, root: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{named}: .*exported was exported in fp32 and runs on the CPU as it is\."):
        pb.Predictor(pb.load(root / "exported"), **options)  # type: ignore[arg-type]
    pb.Predictor(pb.load(root / "exported"), "cpu", "fp32")


def test_what_needs_the_weights_asks_for_the_checkpoint(root: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"exported: is an exported folder, which only predicts. Name the checkpoint"
    ):
        load_model(root / "exported")


def test_metrics_are_those_of_the_checkpoint_without_mask_ap(
    exported: pb.Predictor, native: pb.Predictor, root: Path, tmp_path: Path
) -> None:
    annotations = PanopticAnnotations.load(root / "data" / "annotations" / "panoptic_val.json")
    found, expected = (
        json.loads(evaluate(predictor, annotations, root / "data" / "val", tmp_path / name, QUIET).read_text())
        for name, predictor in (("exported", exported), ("native", native))
    )
    assert expected["semantic"]["mIoU"] > 1
    assert found["semantic"]["mIoU"] == pytest.approx(expected["semantic"]["mIoU"], abs=0.2)
    assert found["PQ"] == pytest.approx(expected["PQ"], abs=0.2)
    assert "mask_ap" in expected
    assert "mask_ap" not in found
    (note,) = (each for each in found["notes"] if each not in expected["notes"])
    assert note == "mask AP is left out: exported and tiled models give panoptic maps alone"


def test_a_sweep_asks_for_the_checkpoint(exported: pb.Predictor, root: Path, tmp_path: Path) -> None:
    annotations = PanopticAnnotations.load(root / "data" / "annotations" / "panoptic_val.json")
    with pytest.raises(ConfigError, match=r"--sweep: exported and tiled models .* Give the checkpoint, and no --tile"):
        evaluate(exported, annotations, root / "data" / "val", tmp_path / "out", QUIET, sweep=SWEEP_GRID)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("batch", [1, 3])
def test_an_image_of_another_size_than_the_only_one_stops_no_other(batch: int, tmp_path: Path) -> None:
    graph = stuff_graph()
    for axis, side in enumerate((20, 30)):
        graph.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = side
    predictor = pb.Predictor(pb.load(write_export(tmp_path / "exported", graph, size=(20, 30))))
    (tmp_path / "in").mkdir()
    for number, size in enumerate([(30, 20), (60, 40), (30, 20), (20, 30)]):  # the second resizes to the first's size
        Image.new("RGB", size).save(tmp_path / "in" / f"{number}.png")
    source = ImageFiles(find_images([str(tmp_path / "in")], ()).files)
    result = write_predictions(predictor, source, tmp_path / "out", QUIET, batch=batch)
    assert [path.name for path in sorted((tmp_path / "out" / "predictions").iterdir())] == ["0.png", "2.png"]
    assert [failure.split(": ")[0] for failure in result.failures] == ["1.png", "3.png"]
    assert "image 60 x 40: " in result.failures[0]
    assert "exported for images of 30 x 20 alone" in result.failures[0]


def test_settings_that_are_built_in_are_refused_before_anything_is_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--checkpoint", str(root / "exported"), "--input", str(root / "data" / "val")]
    for option in ("--model.fcos.nms_iou=0.5", "--model.input.shortest_edge=64"):
        assert main(["predict", *arguments, "--output", str(tmp_path / "out"), option]) == 2
        assert "which is built into its graph" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
    assert main(["predict", *arguments, "--output", str(tmp_path / "out"), "--precision", "bf16"]) == 2
    assert "precision 'bf16'" in capsys.readouterr().err


def commands(root: Path, output: Path) -> list[list[str]]:
    """Images, the same again with overlays, annotated images, and one image over and over."""
    predict = ["predict", "--checkpoint", str(root / "exported"), "--output", str(output / "predicted")]
    predict += ["--input", str(root / "data" / "val"), "--model.merge.min_score", "0.1"]
    evaluate = ["evaluate", "--checkpoint", str(root / "exported"), "--output", str(output / "evaluated")]
    evaluate += ["--images", str(root / "data" / "val")]
    evaluate += ["--annotations", str(root / "data" / "annotations" / "panoptic_val.json"), "--overlays"]
    benchmark = ["benchmark", "--checkpoint", str(root / "exported"), "--size", "64x96", "--rounds", "2"]
    benchmark += ["--output", str(output / "speed.json")]
    return [predict, [*predict, "--overlays"], evaluate, benchmark]


def assert_written(output: Path) -> None:
    for name in ("predicted", "evaluated"):
        assert len(list((output / name / "predictions").glob("*.png"))) == 3
        assert len(list((output / name / "overlays").glob("*.jpg"))) == 3
        assert (output / name / "predictions.json").is_file()
    assert json.loads((output / "speed.json").read_text())["runtime"] == "onnxruntime"
    assert "PQ" in json.loads((output / "evaluated" / "metrics.json").read_text())


def test_commands_import_no_torch(root: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from panoptic_blend.cli import main
codes = [main(words) for words in {commands(root, tmp_path)!r}]
print(codes, sorted({set(NOT_FOR_EXPORTED)!r} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0] []", done.stderr
    assert_written(tmp_path)


@pytest.mark.slow
def test_everything_works_where_torch_cannot_be_imported(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_TORCH)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(pb.__file__).parents[1]}")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)

    assert run("-c", "import torch").returncode == 1
    for words in [["--help"], *commands(root, tmp_path)]:
        done = run("-m", "panoptic_blend", *words)
        assert done.returncode == 0, done.stderr
    assert_written(tmp_path)
    truth, predicted = root / "data" / "annotations" / "panoptic_val.json", tmp_path / "predicted" / "predictions.json"
    done = run("-m", "panoptic_blend", "score", "--ground-truth", str(truth), "--predictions", str(predicted))
    assert done.returncode == 0, done.stderr
    done = run("-m", "panoptic_blend", *commands(root, tmp_path)[0], "--checkpoint", str(root / "model.safetensors"))
    assert done.returncode == 1
    assert done.stderr.startswith("This needs torch"), done.stderr
    program = f"""
import panoptic_blend as pb
prediction = pb.Predictor(pb.load({str(root / "exported")!r}))({str(root / "data" / "val" / "val_000000.jpg")!r})
prediction.save({str(tmp_path / "out.png")!r})
print(len(prediction.segments), prediction.overlay().size)
"""
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").is_file()


def test_runtime_requirements_are_the_package_s_own_without_torch() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    whole = set(setup["options"]["install_requires"].strip().splitlines())
    extras = setup["options.extras_require"]
    lines = (ROOT / "requirements-runtime.txt").read_text().splitlines()
    listed = {line for line in lines if not line.startswith("#")}
    runtime = {line for line in extras["onnx"].split() if line.startswith("onnxruntime>")}
    assert listed - whole == runtime
    assert {line.partition(">")[0] for line in whole - listed} == NOT_FOR_EXPORTED
    (instead,) = (line.removeprefix("# ").split()[0] for line in lines if line.startswith("# openvino"))
    assert instead in extras["openvino"].split()


@pytest.mark.slow
def test_the_oldest_onnxruntime_that_is_allowed_gives_the_same(
    exported: pb.Predictor, root: Path, tmp_path: Path
) -> None:
    lines = (ROOT / "requirements-runtime.txt").read_text().splitlines()
    (oldest,) = (line.partition(">=")[2] for line in lines if line.startswith("onnxruntime"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "oldest")]
    if subprocess.run([*pip, f"onnxruntime=={oldest}"]).returncode:
        pytest.skip(f"onnxruntime {oldest} cannot be installed for this Python")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path / "oldest")!r})
import numpy, onnxruntime
import panoptic_blend as pb
assert onnxruntime.__version__.startswith({oldest!r})
image = numpy.load({str(tmp_path / "image.npy")!r})
numpy.save({str(tmp_path / "id_map.npy")!r}, pb.Predictor(pb.load({str(root / "exported")!r}))(image).id_map)
"""
    np.save(tmp_path / "image.npy", picture(160, 224))
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (np.load(tmp_path / "id_map.npy") == exported(picture(160, 224)).id_map).all()
