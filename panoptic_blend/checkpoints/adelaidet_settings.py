"""AdelaiDet's settings, read from its YAML files, as one of our configurations."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from panoptic_blend.config import (
    BackboneConfig,
    BasesConfig,
    BlenderConfig,
    FCOSConfig,
    FPNConfig,
    InputConfig,
    MasksConfig,
    MergeConfig,
    ModelConfig,
    SemanticConfig,
)
from panoptic_blend.errors import CheckpointError, ConfigError

Settings = dict[str, Any]
"""AdelaiDet's settings by dotted name, such as `MODEL.FCOS.NUM_CLASSES`."""

DLA = "build_fcos_dla_fpn_backbone"
"""The value of `MODEL.BACKBONE.NAME` that stands for DLA-34 (Yu et al., Deep Layer Aggregation, 2018)."""

_DEFAULTS: Settings = {
    "INPUT.FORMAT": "BGR",
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "MODEL.PIXEL_MEAN": (103.53, 116.28, 123.675),
    "MODEL.PIXEL_STD": (1.0, 1.0, 1.0),
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": (False, False, False, False),
    "MODEL.RESNETS.DEFORM_MODULATED": False,
    "MODEL.RESNETS.DEFORM_INTERVAL": 1,
    "MODEL.FPN.IN_FEATURES": (),
    "MODEL.FPN.OUT_CHANNELS": 256,
    "MODEL.FCOS.NUM_CLASSES": 80,
    "MODEL.FCOS.TOP_LEVELS": 2,
    "MODEL.FCOS.NUM_CLS_CONVS": 4,
    "MODEL.FCOS.NUM_BOX_CONVS": 4,
    "MODEL.FCOS.NUM_SHARE_CONVS": 0,
    "MODEL.FCOS.NORM": "GN",
    "MODEL.FCOS.USE_SCALE": True,
    "MODEL.FCOS.SIZES_OF_INTEREST": (64, 128, 256, 512),
    "MODEL.FCOS.POS_RADIUS": 1.5,
    "MODEL.FCOS.LOSS_ALPHA": 0.25,
    "MODEL.FCOS.LOSS_GAMMA": 2.0,
    "MODEL.FCOS.INFERENCE_TH_TEST": 0.05,
    "MODEL.FCOS.THRESH_WITH_CTR": False,
    "MODEL.FCOS.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.FCOS.NMS_TH": 0.6,
    "MODEL.FCOS.POST_NMS_TOPK_TEST": 100,
    "MODEL.BASIS_MODULE.NUM_BASES": 4,
    "MODEL.BASIS_MODULE.CONVS_DIM": 128,
    "MODEL.BASIS_MODULE.NUM_CONVS": 3,
    "MODEL.BASIS_MODULE.NORM": "SyncBN",
    "MODEL.BASIS_MODULE.LOSS_ON": False,
    "MODEL.BASIS_MODULE.LOSS_WEIGHT": 0.3,
    "MODEL.BLENDMASK.BOTTOM_RESOLUTION": 56,
    "MODEL.BLENDMASK.ATTN_SIZE": 14,
    "MODEL.BLENDMASK.TOP_INTERP": "bilinear",
    "MODEL.BLENDMASK.INSTANCE_LOSS_WEIGHT": 1.0,
    "MODEL.PANOPTIC_FPN.COMBINE.ENABLED": True,
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH": 0.5,
    "MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH": 0.5,
    "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT": 4096,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 54,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 128,
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": 1.0,
}
"""What AdelaiDet assumes for a setting that its YAML leaves out."""

PUBLISHED: Settings = {
    **_DEFAULTS,
    "MODEL.FCOS.THRESH_WITH_CTR": True,
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH": 0.45,
    "MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH": 0.4,
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": 0.5,
}
"""What the published BlendMask models were trained with."""

_ONLY: dict[str, tuple[object, ...]] = {
    "MODEL.META_ARCHITECTURE": ("BlendMask",),
    "MODEL.BACKBONE.NAME": ("build_fcos_resnet_fpn_backbone", DLA),
    "MODEL.BACKBONE.ANTI_ALIAS": (False,),
    "MODEL.MOBILENET": (False,),
    "MODEL.RESNETS.DEPTH": (50, 101),
    "MODEL.RESNETS.NUM_GROUPS": (1,),
    "MODEL.RESNETS.RES5_DILATION": (1,),
    "MODEL.RESNETS.DEFORM_NUM_GROUPS": (1,),
    "MODEL.FPN.NORM": ("",),
    "MODEL.FPN.FUSE_TYPE": ("sum",),
    "MODEL.FCOS.BOX_QUALITY": ("ctrness",),
    "MODEL.FCOS.CENTER_SAMPLE": (True,),
    "MODEL.FCOS.LOC_LOSS_TYPE": ("giou",),
    "MODEL.FCOS.LOSS_NORMALIZER_CLS": ("fg",),
    "MODEL.FCOS.LOSS_WEIGHT_CLS": (1.0,),
    "MODEL.FCOS.USE_DEFORMABLE": (False,),
    "MODEL.BASIS_MODULE.NAME": ("ProtoNet",),
    "MODEL.BASIS_MODULE.IN_FEATURES": (("p3", "p4", "p5"),),
    "MODEL.BASIS_MODULE.COMMON_STRIDE": (8,),
    "MODEL.BLENDMASK.POOLER_TYPE": ("ROIAlignV2",),
    "MODEL.BLENDMASK.POOLER_SAMPLING_RATIO": (1,),
    "MODEL.BLENDMASK.POOLER_SCALES": ((0.25,),),
    "MODEL.SEM_SEG_HEAD.NORM": ("GN",),
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": (4,),
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": (("p2", "p3", "p4", "p5"),),
}
"""Settings this project has one way for, and the values that mean that way."""

_ONLY_DLA: dict[str, tuple[object, ...]] = {
    "MODEL.DLA.CONV_BODY": ("DLA34",),
    "MODEL.DLA.NORM": ("BN", "SyncBN", "NaiveSyncBN"),
}
"""The same of DLA, whose settings stand in every complete file."""

_NORMS = {"BN": "batch", "SyncBN": "batch", "NaiveSyncBN": "batch", "GN": "group", "none": "none", "": "none"}


def read_settings(config: str | Path) -> Settings:
    """Read an AdelaiDet configuration; what it leaves out has AdelaiDet's default.

    Args:
        config: path of a YAML file, whose `_BASE_` files are read too, or the text of one without `_BASE_`.

    Raises:
        CheckpointError: a file that is missing or not YAML, a `_BASE_` that leads back to itself, a value of another
            type than the default's.
    """
    is_text = isinstance(config, str) and "\n" in config
    found = _flatten(_parse(str(config), "the configuration")) if is_text else _read_chain(Path(config), ())
    if "_BASE_" in found:
        raise CheckpointError("the configuration's text has a _BASE_; give the file's path instead, to find it.")
    for name, value in found.items():
        if name in _DEFAULTS and not _is_like(value, _DEFAULTS[name]):
            raise CheckpointError(
                f"{'the configuration' if is_text else config}: {name} is {value!r}; give it the type of AdelaiDet's "
                f"default, {_DEFAULTS[name]!r}."
            )
    return {**_DEFAULTS, **found}


def _is_like(value: object, default: object) -> bool:
    """Whether a value has the default's type; whole numbers may stand for fractions, tuples have any length."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_is_like(each, kind) for each in value for kind in default[:1])
    return type(value) is type(default) or (type(value) is int and type(default) is float)


def _read_chain(path: Path, children: tuple[Path, ...]) -> Settings:
    path = path.resolve()
    if path in children:
        raise CheckpointError(f"{path}: its _BASE_ leads back to itself. Correct the _BASE_ entries.")
    try:
        own = _flatten(_parse(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}). Give AdelaiDet's YAML file.") from error
    base = own.pop("_BASE_", None)
    if base is None:
        return own
    return {**_read_chain(path.parent / os.path.expanduser(str(base)), (*children, path)), **own}


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CheckpointError(f"{source}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{source}: expected settings such as 'MODEL: ...', found {type(content).__name__}.")
    return content


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Settings:
    flat: Settings = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = _plain(value)
    return flat


def _plain(value: object) -> object:
    """detectron2 reads text as Python's literals, '(64, 128)' or '1e-3'; lists become tuples, as the defaults are."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return value
    return tuple(_plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def model_config(settings: Settings) -> ModelConfig:
    """Our configuration of the model that AdelaiDet's settings describe: separate bases on Caffe's ResNet or on DLA-34.

    Raises:
        CheckpointError: a setting asks for something this project does not have.
    """
    only = _ONLY | _ONLY_DLA if settings.get("MODEL.BACKBONE.NAME") == DLA else _ONLY
    for name, supported in only.items():
        if name in settings and settings[name] not in supported:
            raise CheckpointError(
                f"{name} is {settings[name]!r}; only {' or '.join(repr(s) for s in supported)} can be converted."
            )
    model, fcos = "MODEL.", "MODEL.FCOS."
    if settings[f"{fcos}NUM_CLS_CONVS"] != settings[f"{fcos}NUM_BOX_CONVS"]:
        raise CheckpointError(
            f"MODEL.FCOS.NUM_CLS_CONVS ({settings[f'{fcos}NUM_CLS_CONVS']}) and NUM_BOX_CONVS "
            f"({settings[f'{fcos}NUM_BOX_CONVS']}) differ; only towers of the same length can be converted."
        )
    stuff = bool(settings["MODEL.PANOPTIC_FPN.COMBINE.ENABLED"])
    combine = "MODEL.PANOPTIC_FPN.COMBINE."
    bases, blender = "MODEL.BASIS_MODULE.", "MODEL.BLENDMASK."
    try:
        return ModelConfig(
            input=InputConfig(
                pixel_mean=settings[f"{model}PIXEL_MEAN"],
                pixel_std=settings[f"{model}PIXEL_STD"],
                channel_order=settings["INPUT.FORMAT"],
                shortest_edge=settings["INPUT.MIN_SIZE_TEST"],
                longest_edge=settings["INPUT.MAX_SIZE_TEST"],
            ),
            backbone=_backbone(settings),
            fpn=FPNConfig(
                channels=settings[f"{model}FPN.OUT_CHANNELS"],
                finest_level=2 if {"res2", "level2"} & set(settings[f"{model}FPN.IN_FEATURES"]) else 3,
                coarsest_level=5 + settings[f"{fcos}TOP_LEVELS"],
            ),
            fcos=FCOSConfig(
                num_convs=settings[f"{fcos}NUM_CLS_CONVS"],
                num_shared_convs=settings[f"{fcos}NUM_SHARE_CONVS"],
                norm=_norm(settings, f"{fcos}NORM"),
                level_scales=settings[f"{fcos}USE_SCALE"],
                sizes_of_interest=settings[f"{fcos}SIZES_OF_INTEREST"],
                center_radius=settings[f"{fcos}POS_RADIUS"],
                focal_alpha=settings[f"{fcos}LOSS_ALPHA"],
                focal_gamma=settings[f"{fcos}LOSS_GAMMA"],
                score_threshold=settings[f"{fcos}INFERENCE_TH_TEST"],
                threshold_with_centerness=settings[f"{fcos}THRESH_WITH_CTR"],
                pre_nms_top_k=settings[f"{fcos}PRE_NMS_TOPK_TEST"],
                nms_iou=settings[f"{fcos}NMS_TH"],
                max_detections=settings[f"{fcos}POST_NMS_TOPK_TEST"],
            ),
            bases=BasesConfig(
                kind="fpn",
                num_bases=settings[f"{bases}NUM_BASES"],
                channels=settings[f"{bases}CONVS_DIM"],
                num_convs=settings[f"{bases}NUM_CONVS"],
                norm=_norm(settings, f"{bases}NORM"),
                auxiliary_loss_weight=settings[f"{bases}LOSS_WEIGHT"] if settings[f"{bases}LOSS_ON"] else 0.0,
            ),
            masks=MasksConfig(
                resolution=settings[f"{blender}BOTTOM_RESOLUTION"],
                loss_weight=settings[f"{blender}INSTANCE_LOSS_WEIGHT"],
                blender=BlenderConfig(
                    attention_size=settings[f"{blender}ATTN_SIZE"], interpolation=settings[f"{blender}TOP_INTERP"]
                ),
            ),
            semantic=SemanticConfig(
                enabled=stuff,
                channels=settings[f"{model}SEM_SEG_HEAD.CONVS_DIM"],
                loss_weight=settings[f"{model}SEM_SEG_HEAD.LOSS_WEIGHT"],
            ),
            merge=MergeConfig(
                min_score=settings[f"{combine}INSTANCES_CONFIDENCE_THRESH"],
                max_overlap=settings[f"{combine}OVERLAP_THRESH"],
                min_stuff_area=settings[f"{combine}STUFF_AREA_LIMIT"],
            ),
        )
    except ConfigError as error:
        raise CheckpointError(f"AdelaiDet's settings make no valid model here: {error}") from error


def _backbone(settings: Settings) -> BackboneConfig:
    if settings.get("MODEL.BACKBONE.NAME") == DLA:
        return BackboneConfig("timm:dla34", weights="none")
    resnet = "MODEL.RESNETS."
    if settings[f"{resnet}RES2_OUT_CHANNELS"] != 4 * settings[f"{resnet}WIDTH_PER_GROUP"]:
        raise CheckpointError("MODEL.RESNETS.RES2_OUT_CHANNELS must be 4 times WIDTH_PER_GROUP to be converted.")
    deformable = tuple(s for s, on in enumerate(settings[f"{resnet}DEFORM_ON_PER_STAGE"], start=2) if on)
    if deformable and not settings[f"{resnet}DEFORM_MODULATED"]:
        raise CheckpointError("MODEL.RESNETS.DEFORM_MODULATED is False; only modulated deformable convolution is here.")
    return BackboneConfig(
        name=f"resnet{settings[f'{resnet}DEPTH']}",
        weights="none",
        norm="frozen" if settings[f"{resnet}NORM"] == "FrozenBN" else _norm(settings, f"{resnet}NORM"),
        frozen_stages=max(settings["MODEL.BACKBONE.FREEZE_AT"], 0),
        width=settings[f"{resnet}WIDTH_PER_GROUP"],
        stem_width=settings[f"{resnet}STEM_OUT_CHANNELS"],
        stride_in_1x1=settings[f"{resnet}STRIDE_IN_1X1"],
        deformable_stages=deformable,
        deformable_interval=settings[f"{resnet}DEFORM_INTERVAL"],
    )


def _norm(settings: Settings, name: str) -> Any:
    if settings[name] not in _NORMS:
        raise CheckpointError(f"{name} is {settings[name]!r}; only {', '.join(map(repr, _NORMS))} can be converted.")
    return _NORMS[settings[name]]
