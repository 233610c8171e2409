from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.samples import read_sample
from panoptic_blend.config import DataConfig
from panoptic_blend.errors import DatasetError
from panoptic_blend.training.data_module import CheckTogether, DataModule, load_data


@pytest.fixture
def spoilt(shapes_root: Path, tmp_path: Path) -> Path:
    """The small data set with one training image that is no image."""
    root = shutil.copytree(shapes_root, tmp_path / "data")
    (root / "train" / "train_000002.jpg").write_bytes(b"not an image")
    return root


def settings(root: Path, **changes: object) -> DataConfig:
    return DataConfig(root=str(root), workers=0, **changes)  # type: ignore[arg-type]


def test_a_bad_sample_stops_before_training(spoilt: Path) -> None:
    with pytest.raises(DatasetError, match=r"train_000002\.jpg"):
        load_data(settings(spoilt), 0, Console(quiet=True))


def test_bad_samples_are_left_out_and_reported(spoilt: Path) -> None:
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=300, file=nowhere)
        training, validation = load_data(settings(spoilt, on_bad_sample="skip"), 0, console)
    assert list(training.indices) == [0, 1, 3, 4, 5]
    assert len(validation) == 3
    text = console.export_text()
    assert "1 of 6 samples left out" in text
    assert "train_000002.jpg" in text


def test_samples_whose_rows_do_not_hold_together_are_left_out_and_reported(spoilt: Path) -> None:
    path = spoilt / "annotations" / "panoptic_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"][0]["area"] = 1.5
    del content["annotations"][4]
    path.write_text(json.dumps(content))
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=300, file=nowhere)
        training, _ = load_data(settings(spoilt, on_bad_sample="skip"), 0, console)
    names = [training.annotations[int(index)].file_name for index in training.indices]
    assert names == [f"train_{number:06}.jpg" for number in (1, 3, 5)]
    text = console.export_text()
    assert "3 of 6 samples left out" in text
    for number, reason in ((0, "'area' must be its number of pixels"), (4, "no annotation for image"), (2, "")):
        assert re.search(rf"  train_{number:06}\.jpg: .*{reason}", text)


def test_without_a_check_nothing_is_opened(spoilt: Path) -> None:
    training, _ = load_data(settings(spoilt), 0, Console(quiet=True), check=False)
    assert len(training) == 6
    with pytest.raises(DatasetError, match=r"train_000002\.jpg"):
        training[2, 0]


class Exchange:
    """Two processes, one after the other: the second is told what the first has found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.told: list[object] = []
        monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
        monkeypatch.setattr("torch.distributed.all_gather_object", self.gather)

    def gather(self, everywhere: list[object], mine: object) -> None:
        self.told.append(mine)
        everywhere[:] = [*self.told, []][:2]


@pytest.mark.parametrize("on_bad_sample", ["raise", "skip"])
def test_processes_share_the_check_and_know_what_each_found(
    on_bad_sample: str, spoilt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spoilt / "train" / "train_000005.jpg").write_bytes(b"not an image")
    chosen = settings(spoilt, on_bad_sample=on_bad_sample)
    training, _ = load_data(chosen, 0, Console(quiet=True), check=False)
    seen: list[str] = []

    def read(record: ImageRecord, *arguments: object) -> object:
        seen.append(record.file_name)
        return read_sample(record, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("panoptic_blend.data.sample_checks.read_sample", read)
    exchange = Exchange(monkeypatch)
    check = CheckTogether(chosen, Console(quiet=True), 3)
    if on_bad_sample == "raise":
        for rank, name in ((1, "train_000005"), (0, "train_000002")):  # whose own is earlier
            with pytest.raises(DatasetError, match=rf"{name}\.jpg"):
                check(training, rank, 2)
    else:
        assert check(training, 0, 2).tolist() == [0, 1, 3, 4, 5]  # the other is not there yet
        assert check(training, 1, 2).tolist() == [0, 1, 3, 4]
    assert len(exchange.told) == 2
    assert sorted(seen) == [f"train_{number:06}.jpg" for number in range(6)]  # each was read once


def test_no_usable_sample_is_an_error(spoilt: Path) -> None:
    for image in (spoilt / "val").iterdir():
        image.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"panoptic_val\.json: not one usable sample"):
        load_data(settings(spoilt, on_bad_sample="skip"), 0, Console(quiet=True))


def test_both_sets_must_list_the_same_categories(spoilt: Path) -> None:
    path = spoilt / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "something else"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"'something else' \(thing\) in the second"):
        load_data(settings(spoilt), 0, Console(quiet=True))


def test_both_sets_may_draw_the_same_categories_differently(shapes_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(shapes_root, tmp_path / "data")
    path = root / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    for category in content["categories"]:
        category.pop("color", None)
    content["categories"].reverse()
    path.write_text(json.dumps(content))
    load_data(settings(root), 0, Console(quiet=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_goes_wrong_while_loading_is_one_sentence(shapes_root: Path, tmp_path: Path, workers: int) -> None:
    root = shutil.copytree(shapes_root, tmp_path / "data")
    sets = load_data(settings(root), 0, Console(quiet=True))
    for image in (*(root / "train").iterdir(), *(root / "val").iterdir()):
        image.write_bytes(b"")
    module = DataModule(*sets, images_per_pass=2, start=0, workers=workers, seed=0, pin_memory=False)
    module.trainer = SimpleNamespace(global_rank=0, world_size=1)  # type: ignore[assignment]
    for loader in (module.train_dataloader(), module.validation_loader()):
        with pytest.raises(DatasetError, match=r"^\S+\.jpg: is not an image in a format that Pillow reads\. [^\n]+$"):
            next(iter(loader))


def test_training_needs_segments(spoilt: Path) -> None:
    path = spoilt / "annotations" / "panoptic_train.json"
    content = json.loads(path.read_text())
    del content["annotations"]
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="lists images only"):
        load_data(settings(spoilt), 0, Console(quiet=True))


def test_segments_folder_can_be_named(shapes_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(shapes_root, tmp_path / "data")
    (root / "panoptic_train").rename(root / "elsewhere")
    training, _ = load_data(settings(root, train_segments="elsewhere"), 0, Console(quiet=True))
    assert len(training) == 6
