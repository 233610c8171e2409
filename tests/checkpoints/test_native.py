from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints.native import load_model, save_model
from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from tests.tiny import tiny_model_config

CATEGORIES = Categories(
    [
        Category(7, "disc", True, (200, 10, 10)),
        Category(11, "grass", False, (10, 200, 10), "ground"),
        Category(3, "größe ✓", True, (1, 2, 3)),
    ]
)


@pytest.fixture(scope="module")
def model() -> PanopticBlend:
    torch.manual_seed(0)
    config = tiny_model_config()
    # Random weights find nothing they are sure of: keep whatever is found.
    config.merge = dataclasses.replace(config.merge, min_score=0.0, min_stuff_area=0)
    config.fcos = dataclasses.replace(config.fcos, score_threshold=0.0)
    return build_model(config, CATEGORIES)


@pytest.fixture
def saved(model: PanopticBlend, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    return path


def rewrite(path: Path, metadata: dict[str, str] | None = None, drop: str = "", **tensors: torch.Tensor) -> None:
    with safe_open(path, framework="pt") as file:
        old = file.metadata()
        kept = {name: file.get_tensor(name) for name in file.keys() if name != drop}  # noqa: SIM118
    save_file({**kept, **tensors}, path, {**old, **(metadata or {})})


def test_round_trip_is_exact(model: PanopticBlend, saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.config == model.config
    assert loaded.categories == model.categories
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
        assert loaded.state_dict()[name].dtype == value.dtype
    image = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    (before,), (after,) = model.predict([image]), loaded.predict([image])
    assert before.segments == after.segments
    assert len(before.segments) > 0
    assert len(before.instances) > 0
    np.testing.assert_array_equal(before.id_map, after.id_map)
    assert torch.equal(before.instances.mask_patches, after.instances.mask_patches)


def test_memory_layout_and_half_precision_survive(model: PanopticBlend, tmp_path: Path) -> None:
    other = build_model(model.config, CATEGORIES).to(memory_format=torch.channels_last).to(torch.bfloat16)
    save_model(other, tmp_path / "half.safetensors")
    with safe_open(tmp_path / "half.safetensors", framework="pt") as file:
        for name, value in other.state_dict().items():
            assert torch.equal(file.get_tensor(name), value), name


def test_a_name_that_could_not_be_loaded_is_refused(model: PanopticBlend, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pth: models are written as \.safetensors"):
        save_model(model, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


def test_a_run_gives_its_best_else_its_last(model: PanopticBlend, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither best\.safetensors nor last\.safetensors"):
        load_model(tmp_path)
    save_model(model, tmp_path / "last.safetensors")
    assert load_model(tmp_path).config == model.config
    other = build_model(tiny_model_config(), CATEGORIES)
    save_model(other, tmp_path / "best.safetensors")
    assert load_model(tmp_path).config == other.config != model.config


def test_nothing_is_downloaded_for_a_model_that_began_from_imagenet(tmp_path: Path) -> None:
    config = tiny_model_config()
    config.backbone.weights = "imagenet"
    save_model(build_model(config, CATEGORIES), tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").config.backbone.weights == "imagenet"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.pth", b"x", "pickled weights are not loaded"),
        ("last.ckpt", b"x", "train --resume"),
        ("x.safetensors", b"x", "not a complete safetensors file"),
        ("x.safetensors", b"\x08\0\0\0\0\0\0\0{broken}", "not a complete safetensors file"),
        ("picture.png", b"\x89PNG" + bytes(100), "not a complete safetensors file"),
    ],
)
def test_other_files_are_told_apart(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as failure:
        load_model(tmp_path / name)
    assert name in str(failure.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: no such file"):
        load_model(tmp_path / "absent.safetensors")


def test_a_truncated_file_is_told(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        load_model(saved)


def test_weights_without_description_are_told(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "backbone.safetensors")
    with pytest.raises(CheckpointError, match=r"without panoptic_blend's description.*model\.backbone\.weights"):
        load_model(tmp_path / "backbone.safetensors")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"panoptic_blend_format": "2"}, "format 2, this version reads up to 1"),
        ({"model": "{"}, "cannot be read"),
        ({"model": json.dumps({"fpn": {"chanels": 3}})}, "chanels"),
        ({"model": json.dumps({"fpn": {"channels": "wide"}})}, "channels"),
        ({"model": json.dumps({"fpn": {"channels": 0}})}, "must be positive"),
        ({"model": "[]"}, "model"),
        ({"categories": "[]"}, "no categories"),
    ],
)
def test_a_description_that_does_not_hold_together_is_told(metadata: dict[str, str], message: str, saved: Path) -> None:
    rewrite(saved, metadata)
    with pytest.raises(CheckpointError, match=message) as failure:
        load_model(saved)
    assert str(failure.value).startswith(str(saved))


def test_tensors_that_do_not_fit_are_named(model: PanopticBlend, saved: Path) -> None:
    missing, misshaped, *_ = model.state_dict()
    rewrite(saved, drop=missing, **{"extra.weight": torch.ones(1), misshaped: torch.ones(2, 3)})
    with pytest.raises(CheckpointError) as failure:
        load_model(saved)
    message = str(failure.value)
    assert f"missing {missing}" in message
    assert "surplus extra.weight" in message
    assert f"{misshaped} [2, 3] instead of" in message


def test_a_failed_write_leaves_the_old_file(model: PanopticBlend, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full_disk(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_model(model, saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
