"""Nothing that was predicted is lost, and the same call goes on with what is missing."""

from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from panoptic_blend.coco import predictions
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset, EvaluationSample
from panoptic_blend.errors import DatasetError, FolderInUseError
from panoptic_blend.files.images import Pixels
from panoptic_blend.inference.evaluate import evaluate, true_segments
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.inference.predictor import ImageLike, Predictor
from panoptic_blend.inference.sources import ImageFiles, find_images
from panoptic_blend.inference.writing import write_predictions
from panoptic_blend.modeling.build import build_model
from panoptic_blend.structures import IdMap, Instances, PanopticPrediction
from panoptic_blend.synthetic.scene import SHAPES
from panoptic_blend.synthetic.shapes import generate_shapes
from tests.tiny import talkative_model_config

SOON = 30
QUIET = Console(quiet=True)
NAMES = ["0.png", "1.png", "2.png", "3.png", "4.png"]


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five pictures, the last three of another size."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number, name in enumerate(NAMES):
        noise = Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8))
        noise.resize((90, 60) if number < 2 else (60, 60)).save(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_shapes(tmp_path_factory.mktemp("annotated"), train=1, val=5)


def source_of(images: Path) -> ImageFiles:
    return ImageFiles(find_images([str(images)], ()).files)


def predicted_names(output: Path) -> list[str]:
    return [image["file_name"] for image in json.loads((output / "predictions.json").read_text())["images"]]


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the journal, which says when images were written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "progress.jsonl"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Nearsighted(Predictor):
    """Predicts the truth two pixels beside its place, so that metrics are neither 0 nor 100."""

    def __init__(self, root: Path):
        super().__init__(build_model(talkative_model_config(), SHAPES), "cpu", "fp32")
        annotations = PanopticAnnotations.load(root / "annotations" / "panoptic_val.json")
        dataset = EvaluationDataset(annotations, root / "val", annotations.default_segments_folder)
        self.truth = {sample.image.tobytes(): sample for sample in map(dataset.__getitem__, range(len(dataset)))}

    def predict_batch(self, images: Sequence[ImageLike]) -> list[Prediction]:
        return [self._predict_one(image) for image in images if isinstance(image, np.ndarray)]

    def _predict_one(self, image: Pixels) -> Prediction:
        sample = self.truth[image.tobytes()]
        assert sample.id_map is not None
        segments = true_segments(sample.record, SHAPES)  # without crowds
        id_map = np.roll(np.where(np.isin(sample.id_map, [s.id for s in segments]), sample.id_map, 0), 2, axis=1)
        things = [segment for segment in segments if segment.is_thing]
        rows = [row for row in sample.record.segments if row.id in {thing.id for thing in things}]
        corners = torch.tensor([row.bbox for row in rows]).reshape(-1, 4)
        instances = Instances(
            boxes=torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:]], dim=1),
            scores=torch.tensor([1 / (3 + segment.id % 97) for segment in things]),
            labels=torch.tensor([SHAPES.thing_label(segment.category_id) for segment in things]),
            mask_patches=torch.ones(len(things), 14, 14),
            size=image.shape[:2],
        )
        panoptic = PanopticPrediction(id_map, segments, instances, np.zeros(id_map.shape, np.uint8))
        return Prediction(image, panoptic, SHAPES)


class Sizes:
    """Notes the sizes (width, height) of the images that are predicted, and may raise instead."""

    def __init__(
        self, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, fail: Callable[[int], object] = lambda seen: None
    ):
        self.seen: list[tuple[int, int]] = []
        predict = predictor.predict_batch

        def note(batch: list[Pixels]) -> list[Prediction]:
            fail(len(self.seen))
            self.seen += [(image.shape[1], image.shape[0]) for image in batch]
            return predict(batch)

        monkeypatch.setattr(predictor, "predict_batch", note)


def interrupt_at(count: int) -> Callable[[int], None]:
    def fail(seen: int) -> None:
        if seen == count:
            raise KeyboardInterrupt

    return fail


@pytest.mark.parametrize("failing", NAMES)
def test_a_full_disk_costs_what_was_not_written_yet(
    failing: str, predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, write_id_map = source_of(images), predictions.write_id_map
    write_predictions(predictor, source, tmp_path / "whole", QUIET)
    error = OSError(errno.ENOSPC, "No space left on device")

    def write(path: Path, id_map: IdMap) -> None:
        if path.name == failing:
            raise error
        write_id_map(path, id_map)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left") as caught:  # noqa: PT012
        patch.setattr(predictions, "write_id_map", write)
        write_predictions(predictor, source, tmp_path / "out", QUIET, batch=2)
    assert caught.value is error
    kept = [path.name for path in sorted((tmp_path / "out").glob("predictions/*.png"))]
    assert kept[: NAMES.index(failing)] == NAMES[: NAMES.index(failing)]
    assert failing not in kept
    sizes = Sizes(predictor, monkeypatch)
    write_predictions(predictor, source, tmp_path / "out", QUIET)
    assert len(sizes.seen) == len(NAMES) - len(kept)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_ctrl_c_waits_for_the_writer_and_says_how_to_go_on(
    predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    writing, interrupted = threading.Event(), threading.Event()
    write_id_map, console = predictions.write_id_map, Console(file=StringIO(), width=500)

    def write(path: Path, id_map: IdMap) -> None:
        writing.set()
        assert interrupted.wait(SOON)
        write_id_map(path, id_map)

    def interrupt(seen: int) -> None:
        if seen == 2:
            assert writing.wait(SOON)
            threading.Timer(0.05, interrupted.set).start()
            raise KeyboardInterrupt

    monkeypatch.setattr(predictions, "write_id_map", write)
    Sizes(predictor, monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_predictions(predictor, source_of(images), tmp_path / "out", console)
    assert predicted_names(tmp_path / "out") == ["0.png"]
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 5 images are predicted" in said
    assert "The same command goes on" in said


@pytest.mark.parametrize("count", range(len(NAMES) + 1))
def test_evaluating_goes_on_to_the_very_metrics_of_an_uninterrupted_run(
    count: int, annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predictor = Nearsighted(annotated)
    annotations = PanopticAnnotations.load(annotated / "annotations" / "panoptic_val.json")
    where = annotations, annotated / "val"
    evaluate(predictor, *where, tmp_path / "whole", QUIET, overlays=2)
    metrics = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    for value in (metrics["PQ_th"], metrics["mask_ap"]["AP"], metrics["semantic"]["mIoU"]):
        assert 10 < value < 99
    with monkeypatch.context() as patch:
        Sizes(predictor, patch, interrupt_at(count))
        with pytest.raises(KeyboardInterrupt) if count < 5 else nullcontext():
            evaluate(predictor, *where, tmp_path / "out", QUIET, overlays=2)
    assert (tmp_path / "out" / "metrics.json").exists() == (count == 5)
    done = len(list((tmp_path / "out").glob("predictions/*.png")))
    assert count - 2 <= done <= count  # besides those that waited to be written
    sizes = Sizes(predictor, monkeypatch)
    evaluate(predictor, *where, tmp_path / "out", QUIET, overlays=2)
    assert len(sizes.seen) == 5 - done
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damaged", ["image", "truth"])
def test_a_truncated_picture_costs_itself_alone_until_it_is_mended(
    damaged: str, annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    predictor = Nearsighted(annotated)
    shutil.copytree(annotated, tmp_path / "data")
    annotations = PanopticAnnotations.load(tmp_path / "data" / "annotations" / "panoptic_val.json")
    where = annotations, tmp_path / "data" / "val"
    evaluate(predictor, *where, tmp_path / "whole", QUIET)
    second = annotations[1]
    file = {
        "image": tmp_path / "data" / "val" / second.file_name,
        "truth": annotations.default_segments_folder / second.segments_file_name,
    }[damaged]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=f"(?s)1 of 5 images failed.*{file.name}") as caught:
        evaluate(predictor, *where, tmp_path / "out", QUIET)
    assert "the same command tries them again" in str(caught.value)
    assert len(predicted_names(tmp_path / "out")) == 4
    notes = json.loads((tmp_path / "out" / "metrics.json").read_text())["notes"]
    assert "1 of 5 images failed and are not counted" in notes
    file.write_bytes(whole)
    sizes = Sizes(predictor, monkeypatch)
    evaluate(predictor, *where, tmp_path / "out", QUIET)
    assert len(sizes.seen) == 1
    # To the last digit: images are counted and listed in their order, whenever they were predicted.
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_memory_that_runs_out_costs_the_image_that_does_not_fit(
    predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.new("RGB", (60, 60), (1, 2, 3)).save(images / "3.png")
    predict = predictor.engine.model.predict
    batches: list[int] = []

    def run_out(batch: list[torch.Tensor], *arguments: object) -> object:
        batches.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if any(image[0].min() == image[0].max() for image in batch):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")
        return predict(batch, *arguments)

    monkeypatch.setattr(predictor.engine.model, "predict", run_out)
    result = write_predictions(predictor, source_of(images), tmp_path / "out", QUIET, batch=3)
    assert batches == [2, 3, 1, 1, 1]
    assert predicted_names(tmp_path / "out") == ["0.png", "1.png", "2.png", "4.png"]
    (failure,) = result.failures
    assert failure.startswith("3.png (60 x 60 pixels): does not fit into memory.")
    assert "--model.input.shortest_edge" in failure


def test_memory_that_runs_out_while_reading_or_writing_costs_that_image(
    predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Large(ImageFiles):
        def __getitem__(self, index: int) -> EvaluationSample:
            if index == 1:
                raise MemoryError
            return super().__getitem__(index)

    write_id_map = predictions.write_id_map

    def write(path: Path, id_map: IdMap) -> None:
        if path.name == "3.png":
            raise MemoryError
        write_id_map(path, id_map)

    monkeypatch.setattr(predictions, "write_id_map", write)
    result = write_predictions(predictor, Large(source_of(images).files), tmp_path / "out", QUIET)
    assert predicted_names(tmp_path / "out") == ["0.png", "2.png", "4.png"]
    assert sorted(failure.split(":")[0] for failure in result.failures) == ["1.png", "3.png (60 x 60 pixels)"]


def test_an_error_that_is_not_about_one_image_is_raised(
    predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(seen: int) -> None:
        if seen == 3:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    Sizes(predictor, monkeypatch, fail)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        write_predictions(predictor, source_of(images), tmp_path / "out", QUIET)
    assert predicted_names(tmp_path / "out")[:1] == ["0.png"]


def test_names_that_clash_cost_the_later_image(predictor: Predictor, images: Path, tmp_path: Path):
    class Clashing(ImageFiles):
        """The second image is the first again, the third is named like it, the fourth needs a folder of its name."""

        def __getitem__(self, index: int) -> EvaluationSample:
            sample = super().__getitem__(index)
            changes = {1: {"image_id": 1}, 2: {"file_name": "0.png"}, 3: {"file_name": "0.png/x.png"}}
            return replace(sample, record=replace(sample.record, **changes.get(index, {})))  # type: ignore[arg-type]

    result = write_predictions(predictor, Clashing(source_of(images).files), tmp_path / "out", QUIET)
    assert predicted_names(tmp_path / "out") == ["0.png", "0.png", "4.png"]
    twice, folder = result.failures
    assert "image 1 (1.png) is predicted twice" in twice
    assert "0.png/x.png: cannot be written under this name (" in folder


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda images: (images / "3.png").write_bytes((images / "0.png").read_bytes()), "3.png has changed since"),
        (lambda images: (images / "1.png").rename(images / "5.png"), "image 2 was 1.png, and is 2.png now"),
        (lambda images: (images / "4.png").unlink(), "4.png is not asked for now"),
    ],
)
def test_predictions_of_other_images_are_not_gone_on_with(
    change: Callable[[Path], object], named: str, predictor: Predictor, images: Path, tmp_path: Path
):
    output = tmp_path / "out"
    write_predictions(predictor, source_of(images), output, QUIET)
    before = contents(output)
    change(images)
    with pytest.raises(DatasetError, match=named) as caught:
        write_predictions(predictor, source_of(images), output, QUIET)
    assert "--overwrite" in str(caught.value)
    assert contents(output) == before
    result = write_predictions(predictor, source_of(images), output, QUIET, overwrite=True)
    assert (result.written, result.earlier) == (len(list(images.iterdir())), 0)


def test_an_image_that_was_added_is_all_that_is_predicted(
    predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_predictions(predictor, source_of(images), tmp_path / "out", QUIET)
    Image.new("RGB", (50, 40)).save(images / "5.png")
    sizes = Sizes(predictor, monkeypatch)
    result = write_predictions(predictor, source_of(images), tmp_path / "out", QUIET)
    assert sizes.seen == [(50, 40)]
    assert (result.written, result.earlier) == (6, 5)


def test_another_threshold_weight_precision_or_command_is_told(
    predictor: Predictor, images: Path, tmp_path: Path, annotated: Path
):
    output = tmp_path / "out"
    torch.manual_seed(0)
    model = build_model(talkative_model_config(), SHAPES)
    write_predictions(predictor, source_of(images), output, QUIET)

    def answer(other: Predictor) -> str:
        with pytest.raises(DatasetError) as caught:
            write_predictions(other, source_of(images), output, QUIET)
        return str(caught.value)

    write_predictions(Predictor(model, "cpu", "fp32"), source_of(images), output, QUIET)  # the same weights
    assert 'precision "float32" (now "bfloat16"), other weights.' in answer(Predictor(model, "cpu", "bf16"))
    model.settings.min_score = 0.25
    assert "model.merge.min_score 0.0 (now 0.25)." in answer(Predictor(model, "cpu", "fp32"))
    model.settings.min_score = 0.0
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1
    assert "made with other weights." in answer(Predictor(model, "cpu", "fp32"))
    annotations = PanopticAnnotations.load(annotated / "annotations" / "panoptic_val.json")
    with pytest.raises(DatasetError, match=r'command "predict" \(now "evaluate"\)'):
        evaluate(predictor, annotations, annotated / "val", output, QUIET)


def test_what_predictions_are_made_with_does_not_change_by_predicting(predictor: Predictor, images: Path):
    before = predictor.engine.made_with()
    predictor(images / "0.png")
    predictor(images / "4.png")
    assert predictor.engine.made_with() == before


def test_overlays_asked_for_later_are_drawn_without_predicting(
    predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_predictions(predictor, source_of(images), tmp_path / "whole", QUIET, overlays=True)
    write_predictions(predictor, source_of(images), tmp_path / "out", QUIET)
    sizes = Sizes(predictor, monkeypatch)
    write_predictions(predictor, source_of(images), tmp_path / "out", QUIET, overlays=True)
    assert sizes.seen == []
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_overwriting_leaves_no_overlay_of_the_earlier_result(predictor: Predictor, images: Path, tmp_path: Path):
    write_predictions(predictor, source_of(images), tmp_path / "out", QUIET, overlays=True)
    write_predictions(predictor, source_of(images), tmp_path / "out", QUIET, overwrite=True)
    assert list((tmp_path / "out" / "overlays").iterdir()) == []


SUMMARIES = [
    "metrics.json",
    "sweep.json",
    "tuning.json",
    "tuning.png",
    "overlay.mp4",
    "panoptic_val_BlendMask_results.zip",
]
OTHERS = ["tuned.safetensors", "notes.txt", "my.zip"]


def put(output: Path) -> None:
    for name in SUMMARIES + OTHERS:
        (output / name).write_text("of an earlier result")


def left_in(output: Path) -> list[str]:
    return [name for name in SUMMARIES + OTHERS if (output / name).is_file()]


def test_what_sums_up_earlier_predictions_never_lies_beside_new_ones(
    predictor: Predictor, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "out"
    write_predictions(predictor, source_of(images), output, QUIET)
    put(output)
    write_predictions(predictor, source_of(images), output, QUIET)
    assert left_in(output) == SUMMARIES + OTHERS  # nothing is new
    with monkeypatch.context() as patch:
        Sizes(predictor, patch, interrupt_at(0))
        with pytest.raises(KeyboardInterrupt):
            write_predictions(predictor, source_of(images), output, QUIET, overwrite=True)
    assert left_in(output) == OTHERS
    write_predictions(predictor, source_of(images), output, QUIET)
    put(output)
    (output / "predictions" / NAMES[1]).unlink()  # and is made again
    write_predictions(predictor, source_of(images), output, QUIET)
    assert left_in(output) == OTHERS


def test_files_of_a_folder_without_predictions_are_let_alone(predictor: Predictor, images: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    put(tmp_path / "out")
    write_predictions(predictor, source_of(images), tmp_path / "out", QUIET)
    assert left_in(tmp_path / "out") == SUMMARIES + OTHERS


def test_two_commands_at_once_do_not_write_into_one_folder(
    predictor: Predictor, images: Path, annotated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    annotations = PanopticAnnotations.load(annotated / "annotations" / "panoptic_val.json")
    calls: list[Callable[[], object]] = [
        lambda: write_predictions(predictor, source_of(images), tmp_path / "out", QUIET, overwrite=True),
        lambda: evaluate(predictor, annotations, annotated / "val", tmp_path / "out", QUIET, overwrite=True),
    ]
    refused: list[str] = []

    def call_again(seen: int) -> None:
        for call in calls if seen == 2 else []:
            with pytest.raises(FolderInUseError) as caught:
                call()
            refused.append(str(caught.value))

    for first in calls:
        with monkeypatch.context() as patch:
            Sizes(predictor, patch, call_again)
            first()
        assert len(predicted_names(tmp_path / "out")) == 5
    assert len(refused) == 4
    assert all("another command is writing here" in each for each in refused)
    assert not (tmp_path / "out" / ".lock").exists()
