"""AdelaiDet's settings, read off a checkpoint's names and shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from torch import Tensor

from panoptic_blend.checkpoints.adelaidet_settings import DLA, PUBLISHED, Settings
from panoptic_blend.errors import CheckpointError

_BODY = "backbone.bottom_up"


def infer_settings(state: Mapping[str, Tensor]) -> tuple[Settings, list[str]]:
    """Read the architecture off a checkpoint's names and shapes; the rest is as in the published models.

    Returns:
        The settings, and the names of those that no tensor tells.

    Raises:
        CheckpointError: a part that every BlendMask has is missing, or has another number of axes.
    """
    head, bases = "proposal_generator.fcos_head", "basis_module"

    def size(name: str, axis: int = 0) -> int:
        if name not in state:
            raise CheckpointError(
                f"no tensor {name!r}, which every BlendMask checkpoint has. Is this another model, or part of one?"
            )
        shape = tuple(state[name].shape)
        if len(shape) <= axis or not shape[axis]:
            raise CheckpointError(f"{name!r} has the shape {shape}, which no BlendMask has. Is the file damaged?")
        return shape[axis]

    def convolutions(tower: str) -> list[str]:
        return [name for name in state if name.startswith(f"{tower}.") and state[name].ndim == 4]

    def norm_of(prefix: str) -> str:
        if any(re.fullmatch(rf"{prefix}\.running_mean", name) for name in state):
            return "BN"
        return "GN" if any(re.fullmatch(rf"{prefix}\.weight", name) for name in state) else "none"

    is_dla = f"{_BODY}.base_layer.0.weight" in state
    finest = 2 if "backbone.fpn_lateral2.weight" in state else 3
    num_bases_layer = max(
        (name for name in convolutions(f"{bases}.tower") if re.fullmatch(rf"{bases}\.tower\.\d+\.weight", name)),
        default=f"{bases}.tower.5.weight",
    )
    num_bases = size(num_bases_layer)
    has_stuff = "panoptic_module.predictor.weight" in state
    inferred: Settings = {
        **(_resnet(state, size) if not is_dla else {"MODEL.BACKBONE.NAME": DLA}),
        "MODEL.FPN.IN_FEATURES": tuple(f"res{level}" for level in range(finest, 6)),
        "MODEL.FPN.OUT_CHANNELS": size("backbone.fpn_lateral5.weight"),
        "MODEL.FCOS.NUM_CLASSES": size(f"{head}.cls_logits.weight"),
        "MODEL.FCOS.TOP_LEVELS": sum(f"backbone.top_block.p{level}.weight" in state for level in (6, 7)),
        "MODEL.FCOS.NUM_CLS_CONVS": len(convolutions(f"{head}.cls_tower")),
        "MODEL.FCOS.NUM_BOX_CONVS": len(convolutions(f"{head}.bbox_tower")),
        "MODEL.FCOS.NUM_SHARE_CONVS": len(convolutions(f"{head}.share_tower")),
        "MODEL.FCOS.NORM": norm_of(rf"{head}\.(?:cls|share)_tower\.1(?:\.0)?"),
        "MODEL.FCOS.USE_SCALE": f"{head}.scales.0.scale" in state,
        "MODEL.BASIS_MODULE.NUM_BASES": num_bases,
        "MODEL.BASIS_MODULE.CONVS_DIM": size(num_bases_layer, 1),
        "MODEL.BASIS_MODULE.NUM_CONVS": len(convolutions(f"{bases}.tower")) - 2,
        "MODEL.BASIS_MODULE.NORM": norm_of(rf"{bases}\.refine\.0\.1"),
        "MODEL.BASIS_MODULE.LOSS_ON": f"{bases}.seg_head.0.weight" in state,
        "MODEL.BLENDMASK.ATTN_SIZE": math.isqrt(size("top_layer.weight") // num_bases),
        "MODEL.PANOPTIC_FPN.COMBINE.ENABLED": has_stuff,
    }
    if has_stuff:
        inferred["MODEL.SEM_SEG_HEAD.NUM_CLASSES"] = size("panoptic_module.predictor.weight")
        inferred["MODEL.SEM_SEG_HEAD.CONVS_DIM"] = size("panoptic_module.predictor.weight", 1)
    levels = 3 + inferred["MODEL.FCOS.TOP_LEVELS"]
    settings = {**PUBLISHED, **inferred}
    settings["MODEL.FCOS.SIZES_OF_INTEREST"] = PUBLISHED["MODEL.FCOS.SIZES_OF_INTEREST"][: levels - 1]
    stuff = ("MODEL.SEM_SEG_HEAD.", "MODEL.PANOPTIC_FPN.")
    assumed = [
        name
        for name in PUBLISHED
        if name not in inferred
        and not (name.startswith(stuff) and not has_stuff)
        and not (name.startswith(("MODEL.RESNETS.", "MODEL.BACKBONE.")) and is_dla)
        and not (name == "MODEL.BASIS_MODULE.LOSS_WEIGHT" and not inferred["MODEL.BASIS_MODULE.LOSS_ON"])
    ]
    return settings, assumed


def _resnet(state: Mapping[str, Tensor], size: Callable[..., int]) -> Settings:
    """Settings of a ResNet; `size` is the length of an axis of a tensor that must be there."""
    res4 = {int(match[1]) for name in state if (match := re.match(rf"{_BODY}\.res4\.(\d+)\.", name))}
    offsets = [
        (int(match[1]), int(match[2]))
        for name in state
        if (match := re.fullmatch(rf"{_BODY}\.res(\d)\.(\d+)\.conv2_offset\.weight", name))
    ]
    inferred: Settings = {
        "MODEL.RESNETS.DEPTH": {6: 50, 23: 101}.get(len(res4), f"with {len(res4)} blocks in res4"),
        "MODEL.RESNETS.NORM": _backbone_norm(state),
        "MODEL.RESNETS.STEM_OUT_CHANNELS": size(f"{_BODY}.stem.conv1.weight"),
        "MODEL.RESNETS.WIDTH_PER_GROUP": size(f"{_BODY}.res2.0.conv1.weight"),
        "MODEL.RESNETS.RES2_OUT_CHANNELS": size(f"{_BODY}.res2.0.conv3.weight"),
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE": tuple(any(s == stage for s, _ in offsets) for stage in range(2, 6)),
        "MODEL.RESNETS.DEFORM_MODULATED": all(
            size(f"{_BODY}.res{stage}.{block}.conv2_offset.weight") == 27 for stage, block in offsets
        ),
        "MODEL.RESNETS.DEFORM_INTERVAL": min((block for _, block in offsets if block > 0), default=1),
    }
    if inferred["MODEL.RESNETS.NORM"] == "BN":
        inferred["MODEL.BACKBONE.FREEZE_AT"] = _frozen_stages(state)
    return inferred


def _backbone_norm(state: Mapping[str, Tensor]) -> str:
    """Frozen norms count no batches, and group norms keep no statistics."""
    if not any(name.startswith(_BODY) and name.endswith("running_mean") for name in state):
        return "GN"
    counted = any(name.startswith(f"{_BODY}.res5.") and name.endswith("num_batches_tracked") for name in state)
    return "BN" if counted else "FrozenBN"


def _frozen_stages(state: Mapping[str, Tensor]) -> int:
    """Leading stages whose norms count no batches, for they are frozen."""
    for index, stage in enumerate(("stem", "res2", "res3", "res4", "res5")):
        if any(name.startswith(f"{_BODY}.{stage}.") and name.endswith("num_batches_tracked") for name in state):
            return index
    return 5
