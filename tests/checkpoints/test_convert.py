"""The command that converts, and the training that starts from another model, as a person runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from panoptic_blend.categories import Categories, Category
from panoptic_blend.checkpoints import from_adelaidet, load_model, save_model
from panoptic_blend.checkpoints.adelaidet_settings import model_config, read_settings
from panoptic_blend.cli import main
from panoptic_blend.config_files import write_config
from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.build import build_model
from tests.training.tiny_run import tiny_config


@pytest.fixture(scope="module")
def recording(shared: Path) -> dict[str, Any]:
    return torch.load(shared / "parity" / "panoptic_r50.pt", weights_only=True)


def _annotations(folder: Path, things: int, stuff: int) -> Path:
    rows = [{"id": 100 + i, "name": f"class {i}", "isthing": int(i < things)} for i in range(things + stuff)]
    path = folder / "panoptic.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": rows}))
    return path


def test_convert_checkpoint_writes_a_model_that_predicts_the_same(
    recording: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, config, output = tmp_path / "model_final.pth", tmp_path / "r50.yaml", tmp_path / "new" / "model.safetensors"
    torch.save({"model": recording["state_dict"], "iteration": 1}, source)
    config.write_text(recording["config"])
    categories = _annotations(tmp_path, things=5, stuff=3)
    arguments = ["--output", str(output), "--config", str(config), "--categories", str(categories)]
    assert main(["convert-checkpoint", "--from", "adelaidet", str(source), *arguments]) == 0
    assert "Every tensor has found its place" in capsys.readouterr().out

    model = load_model(output)
    assert [c.id for c in model.categories] == list(range(100, 108))
    expected = from_adelaidet(recording["state_dict"], recording["config"])
    tensors = model.state_dict()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name
    image = recording["samples"][0]["image"].flip(0)
    (ours,), (theirs,) = model.predict([image]), expected.predict([image])
    assert (ours.id_map == theirs.id_map).all()
    assert len(ours.segments) > 5


def test_without_a_configuration_what_was_assumed_is_said(
    recording: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(recording["state_dict"], tmp_path / "model.pth")
    arguments = [str(tmp_path / "model.pth"), "--output", str(tmp_path / "model.safetensors")]
    assert main(["convert-checkpoint", "--from", "adelaidet", *arguments]) == 0
    said = capsys.readouterr().out
    assert "MODEL.BLENDMASK.BOTTOM_RESOLUTION 56" in said
    assert "MODEL.RESNETS.STRIDE_IN_1X1 True" in said
    assert "MODEL.FCOS.NUM_CLASSES" not in said  # the tensors tell
    assert "Categories are numbered, as 5 things and 3 stuff classes are not COCO's" in said


def _without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


def test_every_tensor_that_does_not_fit_is_named(recording: dict[str, Any]) -> None:
    state = _without(recording["state_dict"], "basis_module.refine.1.0.weight")
    state["roi_heads.box.weight"] = torch.ones(1)
    state["top_layer.bias"] = torch.ones(3)
    with pytest.raises(CheckpointError) as caught:
        from_adelaidet(state, recording["config"])
    assert "missing: basis_module.refine.1.0.weight; surplus: roi_heads.box.weight; of another shape: " in str(
        caught.value
    )
    assert "top_layer.bias [3] instead of [784]" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("DEPTH: 50", "DEPTH: 101", r"missing: backbone\.bottom_up\.res4\.6\.conv1\.weight"),
        ("DEPTH: 50", "DEPTH: 152", r"MODEL\.RESNETS\.DEPTH is 152; only 50 or 101"),
        ("BOX_QUALITY: ctrness", "BOX_QUALITY: iou", r"MODEL\.FCOS\.BOX_QUALITY is 'iou'"),
        ("NUM_BOX_CONVS: 4", "NUM_BOX_CONVS: 3", "NUM_BOX_CONVS .3. differ"),
        ("MODEL:", "_BASE_: Base.yaml\nMODEL:", "give the file's path instead"),
    ],
)
def test_configuration_that_is_another_models_or_unsupported_is_refused(
    recording: dict[str, Any], old: str, new: str, message: str
) -> None:
    config = recording["config"]
    assert f"\n{old}" in config or f" {old}" in config
    with pytest.raises(CheckpointError, match=message):
        from_adelaidet(recording["state_dict"], config.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("INPUT: {MIN_SIZE_TEST: '800 px'}", "INPUT.MIN_SIZE_TEST is '800 px'"),
        ("MODEL: {RESNETS: {DEFORM_ON_PER_STAGE: true}}", "MODEL.RESNETS.DEFORM_ON_PER_STAGE is True"),
        ("MODEL: {BACKBONE: {FREEZE_AT: }}", "MODEL.BACKBONE.FREEZE_AT is None"),
        ("MODEL: {FCOS: {SIZES_OF_INTEREST: [a, 1]}}", r"MODEL.FCOS.SIZES_OF_INTEREST is \('a', 1\)"),
        ("MODEL: {FPN: {IN_FEATURES: }}", "MODEL.FPN.IN_FEATURES is None"),
        ("MODEL: {FCOS: {TOP_LEVELS: true}}", "MODEL.FCOS.TOP_LEVELS is True"),
        ("MODEL: {FCOS: {SIZES_OF_INTEREST: '({[]: 1})'}}", "MODEL.FCOS.SIZES_OF_INTEREST is"),
    ],
)
def test_settings_of_another_type_are_named(text: str, name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"the configuration: {name}.*type"):
        read_settings(f"{text}\n")


def test_numbers_may_be_whole_or_text_as_detectron2_reads_them() -> None:
    settings = read_settings(
        "INPUT: {MIN_SIZE_TEST: '640'}\n"
        "MODEL: {FCOS: {POS_RADIUS: 2, NMS_TH: 5e-1}, PIXEL_MEAN: [0, 0.5, 0], FPN: {IN_FEATURES: [res2]}}\n"
    )
    config = model_config(settings)
    assert (config.input.shortest_edge, config.fcos.center_radius, config.fcos.nms_iou) == (640, 2, 0.5)


def test_categories_of_other_numbers_are_refused(recording: dict[str, Any]) -> None:
    categories = Categories([Category(1, "a", True, (0, 0, 0))])
    with pytest.raises(CheckpointError, match="5 thing and 3 stuff classes, the given categories 1 and 0"):
        from_adelaidet(recording["state_dict"], recording["config"], categories)


def test_deformable_blocks_scales_and_their_interval_are_inferred(recording: dict[str, Any]) -> None:
    state = dict(recording["state_dict"])
    for stage, width, blocks in ((3, 8, (0, 3)), (4, 16, (0, 3)), (5, 32, (0,))):
        for block in blocks:
            prefix = f"backbone.bottom_up.res{stage}.{block}.conv2_offset"
            state[f"{prefix}.weight"], state[f"{prefix}.bias"] = torch.ones(27, width, 3, 3), torch.ones(27)
    for level in range(5):
        state[f"proposal_generator.fcos_head.scales.{level}.scale"] = torch.tensor([1.0 + level])
    model = from_adelaidet(state)
    assert model.config.backbone.deformable_stages == (3, 4, 5)
    assert model.config.backbone.deformable_interval == 3
    tensors = model.state_dict()
    assert tensors["network.head.scales"].tolist() == [1, 2, 3, 4, 5]
    moved = tensors["network.backbone.layer2.3.conv2.conv.weight"]
    assert torch.equal(moved, state["backbone.bottom_up.res3.3.conv2.weight"])


def test_base_files_are_read_and_overridden(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "Base.yaml").write_text(
        "MODEL:\n  FCOS:\n    NMS_TH: 0.5\n    USE_SCALE: False\n    SIZES_OF_INTEREST: (32, 64)\n"
    )
    (tmp_path / "deep" / "Middle.yaml").write_text("_BASE_: ../Base.yaml\nMODEL:\n  FCOS:\n    NMS_TH: 0.7\n")
    (tmp_path / "deep" / "leaf.yaml").write_text("_BASE_: Middle.yaml\nINPUT:\n  MIN_SIZE_TEST: 550\n")
    settings = read_settings(tmp_path / "deep" / "leaf.yaml")
    assert settings["MODEL.FCOS.NMS_TH"] == 0.7
    assert settings["MODEL.FCOS.USE_SCALE"] is False
    assert settings["MODEL.FCOS.SIZES_OF_INTEREST"] == (32, 64)
    assert settings["INPUT.MIN_SIZE_TEST"] == 550
    assert settings["MODEL.FCOS.POS_RADIUS"] == 1.5  # a default of theirs

    (tmp_path / "Base.yaml").write_text("_BASE_: deep/leaf.yaml\n")
    with pytest.raises(CheckpointError, match="leads back to itself"):
        read_settings(tmp_path / "deep" / "leaf.yaml")
    with pytest.raises(CheckpointError, match=r"none\.yaml: cannot be read"):
        read_settings(tmp_path / "none.yaml")


def test_train_init_from_lists_what_is_re_initialised(
    shapes_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(shapes_root, tmp_path / "run", max_steps=1)
    config.optimizer.lr = 1e-12  # so that what was loaded can still be told
    write_config(config, tmp_path / "tiny.yaml")
    others = Categories([Category(i, f"category {i}", i < 3, (i, 0, 0)) for i in range(7)])
    before = build_model(config.model, others)
    save_model(before, tmp_path / "before.safetensors")
    arguments = ["train", "--config", str(tmp_path / "tiny.yaml"), "--init-from"]
    assert main([*arguments, str(tmp_path / "before.safetensors")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "panoptic_blend weights:" in said
    assert re.search(r"re-initialised, for categories that the file's model does not predict: '\w+' \(thing\), ", said)
    after = load_model(tmp_path / "run").state_dict()
    torch.testing.assert_close(
        after["network.fpn.lateral.0.weight"], before.state_dict()["network.fpn.lateral.0.weight"]
    )

    assert main(["train", "--resume", str(tmp_path / "run"), "--init-from", "x"]) == 2
    assert main([*arguments, str(tmp_path / "none.pth"), "--trainer.output", str(tmp_path / "b")]) == 1
    assert "none.pth: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(), (54,), (0, 64, 1, 1)])
def test_tensors_that_no_layer_has_are_named(recording: dict[str, Any], shape: tuple[int, ...]) -> None:
    state = dict(recording["state_dict"])
    for name in ("top_layer.weight", "backbone.fpn_lateral5.weight", "basis_module.tower.5.weight"):
        if name in state and (len(shape) != 1 or "basis" in name):
            with pytest.raises(CheckpointError, match=r"which no BlendMask has|of another shape"):
                from_adelaidet(state | {name: torch.ones(shape)})
