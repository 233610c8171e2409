from __future__ import annotations

import dataclasses
import os
import re
from operator import attrgetter
from pathlib import Path

import pytest

from panoptic_blend.config import Config, DataConfig, FCOSConfig, ModelConfig, PredictionSettings, TrainerConfig
from panoptic_blend.config.names import setting_names
from panoptic_blend.config_files import (
    change_settings,
    find_config,
    prediction_settings_help,
    read_config,
    settings_help,
    write_config,
)
from panoptic_blend.errors import ConfigError

UNUSUAL = Config(
    model=ModelConfig(fcos=FCOSConfig(sizes_of_interest=(1.5, 2, 3, 4), level_scales=True)),
    data=DataConfig(root="a folder", jitter=(0.5, 2.0), crop=(64, 96), shortest_edge=(10, 20)),
    trainer=TrainerConfig(output="läufe/1", compile=True),
)


def test_every_shipped_configuration_can_be_read():
    folder = Path(__file__).parents[1] / "configs"
    shipped = sorted(set(folder.rglob("*.yaml")) - set((folder / "ablations").iterdir()))  # those list variants
    assert shipped
    for path in shipped:
        assert isinstance(read_config([path]), Config), path


def test_a_written_configuration_reads_back_equal(tmp_path: Path):
    write_config(UNUSUAL, tmp_path / "config.yaml")
    assert read_config([tmp_path / "config.yaml"]) == UNUSUAL


@pytest.mark.parametrize(
    "text", ["1e3", "12e4", "-1E+5", ".5e2", "1.e-3", "1_0e2", "1e3x", "yes", "3", "0x1f", "~", "a: b"]
)
def test_texts_that_look_like_something_else_stay_texts(text: str, tmp_path: Path):
    config = Config(trainer=TrainerConfig(output=text, max_steps=7))
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_one_file_needs_no_list(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("trainer: {max_steps: 7}")
    assert (
        read_config(tmp_path / "one.yaml")
        == read_config(str(tmp_path / "one.yaml"))
        == read_config([tmp_path / "one.yaml"])
    )


def test_later_files_win_and_overrides_win_over_files(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("trainer: {max_steps: 1, seed: 1, val_every: 1}")
    (tmp_path / "two.yaml").write_text("trainer: {max_steps: 2, seed: 2}\ndata: {}")
    config = read_config([tmp_path / "one.yaml", tmp_path / "two.yaml"],
                         ["--trainer.max_steps", "3", "--data.root=x y"])  # fmt: skip
    assert (config.trainer.max_steps, config.trainer.seed, config.trainer.val_every) == (3, 2, 1)
    assert config.data.root == "x y"
    assert config.optimizer == Config().optimizer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("trainer: {max_stepz: 3}", "trainer.max_stepz is not a setting. Did you mean trainer.max_steps?"),
        ("trianer: {max_steps: 3}", "Did you mean trainer.max_steps?"),
        ("max_steps: 3", "Did you mean trainer.max_steps?"),
        ("trainer: {max_steps: many}", "trainer.max_steps is 'many'; it must be int."),
        ("trainer: {precision: fp8}", "trainer.precision is 'fp8'; it must be one of 'auto', 'fp32', 'bf16', 'fp16'."),
        ("data: {crop: 3}", "data.crop is '3'; it must be a list of 2 int or null, in brackets."),
        ("data: {shortest_edge: 640}", "data.shortest_edge is '640'; it must be a list of int, in brackets."),
        ("optimizer: {milestones: 0.5}", "optimizer.milestones is '0.5'; it must be a list of float, in brackets."),
        ("trainer: 5", "trainer is a group of settings"),
        ("trainer: [1", "is not valid YAML"),
        ("trainer: {output: 2024-06-31}", "is not valid YAML: day is out of range"),
        ("data: {root: 0x_}", "is not valid YAML"),
        ("data: {root: ._}", "could not convert string to float"),
        ("[" * 5000, "is not valid YAML"),
        ("data: &data {root: *data}", "a part of it holds itself"),
        ("trainer: {max_steps: 3}\ntrainer: {batch_size: 4}", "'trainer' is there twice"),
        (
            "model: {masks: {head: null}}",
            "model.masks.head has no value. Write one, or leave it out to have the default",
        ),
        ("optimizer: {schedule: }", "optimizer.schedule has no value. Write one, or leave it out to have the default"),
        ("trainer: {max_steps: ~}", "trainer.max_steps has no value"),
        ("trainer:", "trainer is a group of settings"),
        ("model: {fpn: }", "model.fpn is a group of settings"),
        ("model: {fpn: {coarsest_level: 7.0}}", "model.fpn.coarsest_level is 7.0; it must be int."),
        ("optimizer: {lr: .inf}", "optimizer.lr is inf; it must be finite"),
        ("model: {backbone: {weights: ''}}", "model.backbone.weights is ''; it must be 'imagenet', 'none' or a file."),
        ("just text", "holds no settings"),
        ("", "holds no settings"),
    ],
)
def test_a_bad_file_is_named_with_the_setting_and_the_remedy(tmp_path: Path, text: str, answer: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config([path])
    assert str(caught.value).startswith(f"{path}: ")
    assert answer in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        (["--trainer.max_steps", "-1"], "trainer.max_steps is -1; it must be positive."),
        (["--model.backbone.name", "resnet99"], "model.backbone.name is 'resnet99'"),
        (["--trainer.seed", str(2**63)], "trainer.seed is 9223372036854775808; it must be finite and below 2^63."),
        (["--optimizer.lr", "fast"], "optimizer.lr is 'fast'; it must be float."),
        (["--data.crop", "[0, 10]"], "data.crop is (0, 10); it must be a positive (height, width)."),
        (["--data.shortest_edge", "[0]"], "data.shortest_edge is (0,); it must be a list of positive sizes."),
        (["--optimizer.rl", "1"], "Did you mean --optimizer.lr?"),
        (["--trainer.max_steps"], "expected one argument"),
        (["--optimizer.schedule", "null"], "optimizer.schedule is 'None'; it must be one of 'step', 'cosine', 'poly'."),
        (["--optimizer.lr", ".inf"], "optimizer.lr is inf; it must be finite and below 2^63."),
        (["--model.fpn", "null"], "model.fpn is a group of settings; give each by itself"),
        (["stray"], "stray"),
        (
            ["--model.semantic.enabled=false", "--model.bases.kind=fpn"],
            "model.fpn.finest_level is 2; it must be 3 without the stuff branch",
        ),
        (["--model.fpn.finest_level=3"], "model.fpn.finest_level is 3; it must be 2 for the stuff branch"),
    ],
)
def test_a_bad_override_is_named(overrides: list[str], answer: str):
    with pytest.raises(ConfigError, match=r".*") as caught:
        read_config([], overrides)
    assert answer in str(caught.value)


def test_bounds_name_the_file_that_has_the_setting_last(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("trainer: {batch_size: 3, max_steps: 0}")
    (tmp_path / "two.yaml").write_text("trainer: {max_steps: 5, accumulate: 2}")
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    with pytest.raises(ConfigError, match=r"one\.yaml: trainer\.batch_size is 3; it must be a multiple"):
        read_config(files)
    with pytest.raises(ConfigError, match=r"^trainer\.batch_size is 5; it must be a multiple"):
        read_config(files, ["--trainer.batch_size=5"])


@pytest.mark.parametrize(
    "name",
    [
        "model.backbone.stem_width",
        "model.backbone.deformable_interval",
        "model.fcos.num_shared_convs",
        "model.fcos.center_radius",
        "model.fcos.pre_nms_top_k",
        "model.fcos.nms_iou",
        "model.bases.channels",
        "model.bases.num_convs",
        "model.bases.auxiliary_loss_weight",
        "model.masks.centermask_point.shape_size",
        "model.masks.sag.channels",
        "model.masks.condinst.channels",
        "model.masks.loss_weight",
        "model.semantic.channels",
        "model.semantic.loss_weight",
        "model.merge.min_stuff_area",
        "data.longest_edge",
        "optimizer.reference_batch_size",
        "optimizer.momentum",
        "optimizer.weight_decay",
        "optimizer.backbone_lr_factor",
        "optimizer.clip_norm",
        "trainer.accumulate",
        "trainer.devices",
        "trainer.num_nodes",
        "trainer.val_every",
        "trainer.checkpoint_every",
        "trainer.patience",
        "trainer.log_every",
        "trainer.seed",
    ],
)
def test_numbers_below_their_bound_are_refused(name: str):
    with pytest.raises(ConfigError, match=f"^{re.escape(name)} is -1(.0)?; it must be "):
        read_config([], [f"--{name}=-1"])


def test_help_explains_every_setting():
    text = " ".join(settings_help().split())
    for name in setting_names():
        # jsonargparse writes the type in brackets behind the documentation; alone it would mean that there is none.
        explanation = re.search(rf"--{re.escape(name)} (\[.*?\]|\{{.*?\}}|\S+) (.*?)\(type: ", text)
        assert explanation is not None, name
        assert explanation[2], name


def test_shipped_configurations_are_found_by_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("camvid/r18.yaml").is_file()
    assert find_config("configs/camvid/r18.yaml") == find_config("camvid/r18.yaml")
    (tmp_path / "camvid").mkdir()
    (tmp_path / "camvid" / "r18.yaml").write_text("trainer: {seed: 1}")
    assert find_config("camvid/r18.yaml").read_text() == "trainer: {seed: 1}"
    with pytest.raises(ConfigError, match=r"camvid/r18\.yaml"):
        find_config("camvid/r81.yaml")


def test_settings_of_prediction_are_changed_in_place_and_the_others_stay():
    settings = PredictionSettings.of(ModelConfig())
    before = dataclasses.asdict(settings)
    words = ["--model.merge.min_score", "0.6", "--model.input.shortest_edge=320", "--model.fcos.max_detections", "300"]
    change_settings(settings, words)
    expected = {**before, "min_score": 0.6, "shortest_edge": 320, "max_detections": 300}
    assert dataclasses.asdict(settings) == expected
    assert PredictionSettings.of(settings.within(ModelConfig())) == settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer.lr", "1"], "--optimizer.lr belongs to training"),
        (["--model.fpn.channels=8"], "--model.fpn.channels belongs to training"),
        (["--model.merge.min_score", "much"], r"model\.merge\.min_score is 'much'; it must be float"),
        (["--model.merge.min_score", "2"], r"model\.merge\.min_score is 2\.0; it must be in \[0, 1\]"),
        (["--model.input.shortest_edge", "2000"], r"shortest_edge is 2000; it must be between 1 and longest_edge"),
    ],
)
def test_what_a_prediction_cannot_change_is_said(words: list[str], message: str):
    settings = PredictionSettings.of(ModelConfig())
    before = dataclasses.replace(settings)
    with pytest.raises(ConfigError, match=message):
        change_settings(settings, words)
    assert settings == before


def test_help_of_a_prediction_names_its_settings_alone_and_no_defaults():
    text = prediction_settings_help()
    assert re.findall(r"--(model\.\S+)", text) == [
        f"model.{name}"
        for name in (
            "input.shortest_edge", "input.longest_edge", "fcos.score_threshold", "fcos.threshold_with_centerness",
            "fcos.pre_nms_top_k", "fcos.nms_iou", "fcos.max_detections", "merge.min_score", "merge.max_overlap",
            "merge.min_stuff_area",
        )
    ]  # fmt: skip
    assert "default" not in text


def test_home_is_expanded_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    paths = [f"data.{split}_{what}" for split in ("train", "val") for what in ("images", "annotations", "segments")]
    paths += ["data.root", "trainer.output", "model.backbone.weights"]
    config = read_config([], [f"--{name}=~/a b/{name}" for name in paths])
    for name in paths:
        section, _, setting = name.rpartition(".")
        assert getattr(attrgetter(section)(config), setting) == os.path.join(str(tmp_path), "a b", name)
    (tmp_path / "mine.yaml").write_text("trainer: {max_steps: 7, output: ~/run}")
    found = read_config("~/mine.yaml").trainer
    assert (found.max_steps, found.output) == (7, os.path.join(str(tmp_path), "run"))
