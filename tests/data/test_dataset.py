from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.data.dataset import Batch, StepSampler, TrainingDataset, collate
from panoptic_blend.data.images import read_image
from panoptic_blend.data.targets import derive_targets
from panoptic_blend.data.transforms import TrainingTransform
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import read_rgb


def training_dataset(root: Path, indices: Sequence[int] | None = None, split: str = "train") -> TrainingDataset:
    annotations = PanopticAnnotations.load(root / "annotations" / f"panoptic_{split}.json")
    transform = TrainingTransform((120, 160), 300, jitter=(0.5, 1.5), crop=(128, 160), color=0.2)
    return TrainingDataset(annotations, root / split, root / f"panoptic_{split}", transform, seed=3, indices=indices)


def batches(dataset: TrainingDataset, steps: int, workers: int) -> list[Batch]:
    loader = DataLoader(
        dataset, batch_size=3, sampler=StepSampler(len(dataset), seed=1), num_workers=workers, collate_fn=collate
    )
    iterator = iter(loader)
    return [next(iterator) for _ in range(steps)]


def assert_equal(first: Batch, second: Batch) -> None:
    assert first.file_names == second.file_names
    for a, b in zip(first.images, second.images, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(first.targets, second.targets, strict=True):
        for name in ("boxes", "labels", "instance_map", "semantic"):
            assert torch.equal(getattr(a, name), getattr(b, name))


def test_any_number_of_workers_gives_the_same_batches(shapes: Path) -> None:
    alone, together = (batches(training_dataset(shapes), 4, workers) for workers in (0, 2))
    for first, second in zip(alone, together, strict=True):
        assert_equal(first, second)


def test_the_next_epoch_augments_differently(shapes: Path) -> None:
    dataset = training_dataset(shapes)
    assert not torch.equal(dataset[0, 0].image, dataset[0, 7].image)


def test_unvaried_samples_are_the_files(shapes: Path) -> None:
    dataset = training_dataset(shapes)
    dataset.transform = TrainingTransform((160,), 224, flip=0)
    for index, record in enumerate(dataset.annotations):
        sample = dataset[index, 0]
        assert torch.equal(sample.image, read_image(shapes / "train" / record.file_name))
        id_map = read_id_map(shapes / "panoptic_train" / record.segments_file_name)
        expected = derive_targets(id_map, record.segments, dataset.annotations.categories)
        assert torch.equal(sample.targets.semantic, expected.semantic)
        assert torch.equal(sample.targets.masks, expected.masks)
        assert sample.file_name == record.file_name


def test_indices_choose_images(shapes: Path) -> None:
    dataset = training_dataset(shapes, indices=[4, 2])
    assert [dataset[i, 0].file_name for i in range(len(dataset))] == ["train_000004.jpg", "train_000002.jpg"]


def test_batch_moves_as_one(shapes: Path) -> None:
    dataset = training_dataset(shapes)
    batch = collate([dataset[0, 0], dataset[1, 1]])
    assert len(batch) == 2
    moved = batch.to("meta")
    assert {image.device.type for image in moved.images} == {"meta"}
    assert {targets.instance_map.device.type for targets in moved.targets} == {"meta"}
    assert moved.file_names == batch.file_names


def test_evaluation_samples_are_the_files(shapes: Path) -> None:
    annotations = PanopticAnnotations.load(shapes / "annotations" / "panoptic_val.json")
    dataset = EvaluationDataset(annotations, shapes / "val", shapes / "panoptic_val")
    samples = list(dataset)
    assert [sample.record for sample in samples] == list(annotations)
    for sample in samples:
        assert np.array_equal(sample.image, read_rgb(shapes / "val" / sample.record.file_name))
        assert (sample.id_map == read_id_map(shapes / "panoptic_val" / sample.record.segments_file_name)).all()
    assert EvaluationDataset(annotations, shapes / "val", None)[0].id_map is None


def test_files_that_are_not_there_are_named_at_once(shapes: Path, tmp_path: Path) -> None:
    annotations = PanopticAnnotations.load(shapes / "annotations" / "panoptic_train.json")
    EvaluationDataset(annotations, shapes / "train", shapes / "panoptic_train").check_files()
    shutil.copytree(shapes / "train", tmp_path / "train")
    (tmp_path / "train" / annotations[5].file_name).unlink()
    dataset = EvaluationDataset(annotations, tmp_path / "train", shapes / "panoptic_train")
    with pytest.raises(DatasetError, match=f"^{tmp_path / 'train' / annotations[5].file_name}: no such file, of 14"):
        dataset.check_files()
    EvaluationDataset(annotations, tmp_path / "train", None, range(5)).check_files()
    with pytest.raises(DatasetError, match="and 4 more: no such file, of 14"):
        EvaluationDataset(annotations, shapes / "train", tmp_path).check_files()


def test_ranks_evaluate_every_image_once(shapes: Path) -> None:
    annotations = PanopticAnnotations.load(shapes / "annotations" / "panoptic_train.json")
    parts = [EvaluationDataset(annotations, shapes / "train", None, range(rank, 7, 3)) for rank in range(3)]
    names = [sample.record.file_name for part in parts for sample in part]
    assert sorted(names) == sorted(record.file_name for record in annotations)


def first(sampler: StepSampler, count: int) -> list[tuple[int, int]]:
    return list(itertools.islice(sampler, count))


@given(length=st.integers(1, 12), seed=st.integers(0, 99), start=st.integers(0, 40))
def test_every_epoch_is_a_permutation_and_resuming_goes_on_with_it(length: int, seed: int, start: int) -> None:
    keys = first(StepSampler(length, seed), 6 * length)
    assert [draw for _, draw in keys] == list(range(6 * length))
    for epoch in range(6):
        assert sorted(index for index, _ in keys[epoch * length : (epoch + 1) * length]) == list(range(length))
    assert first(StepSampler(length, seed, start=start), len(keys[start:])) == keys[start:]


@given(length=st.integers(1, 12), world=st.integers(1, 4), per_rank=st.integers(1, 3), start_step=st.integers(0, 5))
def test_a_step_sees_the_same_images_for_any_number_of_processes(
    length: int, world: int, per_rank: int, start_step: int
) -> None:
    size, steps = world * per_rank, 4
    alone = first(StepSampler(length, 1), (start_step + steps) * size)[start_step * size :]
    ranks = [first(StepSampler(length, 1, start_step * size, rank, world), steps * per_rank) for rank in range(world)]
    for step in range(steps):
        mine = [key for rank in ranks for key in rank[step * per_rank : (step + 1) * per_rank]]
        assert sorted(mine) == sorted(alone[step * size : (step + 1) * size])


def test_epochs_and_seeds_differ() -> None:
    keys = [index for index, _ in first(StepSampler(50, 0), 100)]
    assert keys[:50] != keys[50:]
    assert keys[:50] != [index for index, _ in first(StepSampler(50, 1), 50)]


def test_no_images_left_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no training images"):
        StepSampler(0, 0)


def test_image_of_another_size_is_named(shapes: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # upright, this one is 160 wide and 224 high
    Image.fromarray(np.zeros((160, 224, 3), dtype=np.uint8)).save(tmp_path / "train_000000.jpg", exif=exif)
    dataset = training_dataset(shapes)
    dataset.images = tmp_path
    with pytest.raises(DatasetError, match=r"train_000000\.jpg: is 160 x 224 pixels upright .* 224 x 160"):
        dataset[0, 0]
    with pytest.raises(DatasetError, match=r"train_000001\.jpg: no such image"):
        dataset[1, 0]


def test_coco_sample_loads_whole(shared: Path) -> None:
    dataset = training_dataset(shared / "datasets" / "coco_sample", split="val")
    dataset.transform = TrainingTransform((400, 480), 1333)
    for index in range(2):
        sample = dataset[index, 0]
        record = dataset.annotations[index]
        things = [s for s in record.segments if dataset.annotations.categories.by_id(s.category_id).is_thing]
        assert len(sample.targets.labels) == sum(not s.is_crowd for s in things)
        assert min(sample.image.shape[1:]) in (400, 480)


def test_camvid_loads(shared: Path) -> None:
    dataset = training_dataset(shared / "datasets" / "camvid_panoptic")
    for draw, index in enumerate(range(0, len(dataset), 40)):
        sample = dataset[index, draw]
        assert sample.targets.instance_map.shape[1:] == sample.image.shape[1:] == sample.targets.semantic.shape
