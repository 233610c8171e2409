"""The model inside detectron2: its trainer, predictor, data loaders, evaluators, visualizer and checkpointer.

    from detectron2.config import get_cfg
    from panoptic_blend.integrations.detectron2 import add_panoptic_blend_config

    cfg = get_cfg()
    add_panoptic_blend_config(cfg)
    cfg.MODEL.PANOPTIC_BLEND.CONFIG = "shapes/r18.yaml"

Importing this module registers the meta-architecture "PanopticBlend"; `tools/train_detectron2.py` trains it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from panoptic_blend.categories import IGNORE
from panoptic_blend.checkpoints.backbone import load_backbone_weights
from panoptic_blend.checkpoints.initialise import initialise
from panoptic_blend.checkpoints.names import load_checkpoint
from panoptic_blend.config import Config
from panoptic_blend.config_files import read_config
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.integrations.detectron2_data import PanopticMapper, ids_of, register_panoptic
from panoptic_blend.integrations.detectron2_ids import IGNORE_LABEL, ContiguousIds, panoptic_metadata
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend as Model
from panoptic_blend.structures import PanopticPrediction, Targets

# isort: split
# Last, because what comes above says clearly when detectron2 is missing.
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import BitMasks, Boxes, Instances

__all__ = [
    "PanopticBlend",
    "PanopticMapper",
    "add_panoptic_blend_config",
    "panoptic_metadata",
    "register_datasets",
    "register_panoptic",
]


def add_panoptic_blend_config(cfg: CfgNode) -> None:
    """Add the node `MODEL.PANOPTIC_BLEND` and choose this meta-architecture, with masks.

    Keys of the node:
        CONFIG: YAML file of ours whose `model` section describes the network, or the name of one that comes with the
            package; "" takes the defaults. `INPUT` and `SOLVER` stay detectron2's; the model normalises images itself.
        SETTINGS: single settings on top of it, such as ["model.backbone.name=resnet18"].
        INIT_FROM: weights to start that network from, of any kind that `panoptic_blend.checkpoints.initialise` reads.
        CHECKPOINT: a `.safetensors` file, run folder or model's name to take network and weights from, instead.
    """
    cfg.MODEL.PANOPTIC_BLEND = CfgNode({"CONFIG": "", "SETTINGS": [], "INIT_FROM": "", "CHECKPOINT": ""})
    cfg.MODEL.META_ARCHITECTURE = "PanopticBlend"
    cfg.MODEL.MASK_ON = True


@META_ARCH_REGISTRY.register()
class PanopticBlend(nn.Module):
    """The meta-architecture: detectron2's dicts in and out, our model between. Build it with `PanopticBlend(cfg)`.

    Args:
        model: the model itself; to leave detectron2, give it to `panoptic_blend.save`.
        ids: what detectron2 calls the model's categories.
        image_format: channel order of the images that come in, "BGR" or "RGB".
    """

    @configurable
    def __init__(self, *, model: Model, ids: ContiguousIds, image_format: str):
        super().__init__()
        if image_format not in ("BGR", "RGB"):
            raise ConfigError(f"INPUT.FORMAT is {image_format!r}; it must be 'BGR' or 'RGB'.")
        self.model = model
        self.ids = ids
        self.image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments as detectron2's configuration gives them."""
        ids = ids_of(cfg)
        return {"model": _build(cfg, ids), "ids": ids, "image_format": cfg.INPUT.FORMAT}

    @property
    def device(self) -> torch.device:
        """Where the model is, as detectron2's wrappers ask."""
        return self.model.device

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training mode, predictions in evaluation mode.

        Args:
            batched_inputs: per image a dict with `image` [3, H, W]; in training also `instances` (`gt_boxes`,
                `gt_classes`, `gt_masks`) and `sem_seg` [H, W] (0 = a thing, 1..S = stuff, 255 = ignore); at
                prediction `height` and `width` of the output, by default the image's.

        Returns:
            Weighted losses by name, or per image `instances`, `panoptic_seg` and, with the semantic branch, `sem_seg`:
            uint8 [1 + S, H, W], 1 for the label of each pixel.

        Raises:
            DatasetError: training samples without masks or semantic map.
        """
        images = [self._to_rgb(sample["image"]) for sample in batched_inputs]
        if self.training:
            return self.model(images, [self._targets(sample) for sample in batched_inputs])
        sizes = [
            (sample.get("height", image.shape[1]), sample.get("width", image.shape[2]))
            for sample, image in zip(batched_inputs, images, strict=True)
        ]
        return [self._output(prediction) for prediction in self.model.predict(images, sizes)]

    def _to_rgb(self, image: Tensor) -> Tensor:
        return image.flip(0) if self.image_format == "BGR" else image

    def _targets(self, sample: dict[str, Any]) -> Targets:
        size = sample["image"].shape[-2:]
        instances = sample.get("instances")
        if instances is None or (len(instances) and not instances.has("gt_masks")):
            raise DatasetError(
                f"{sample.get('file_name', 'a sample')}: has no instances with masks. Set MODEL.MASK_ON, and for a "
                "data set of register_coco_panoptic train with PanopticMapper(cfg) as the mapper."
            )
        masks = instances.gt_masks if len(instances) else BitMasks(torch.zeros((0, *size), dtype=torch.bool))
        if not isinstance(masks, BitMasks):
            masks = BitMasks.from_polygon_masks(masks, *size)
        labels = {contiguous: label for label, contiguous in enumerate(self.ids.things.values())}
        return Targets.from_masks(
            boxes=instances.gt_boxes.tensor.float(),
            labels=torch.tensor(
                [labels[contiguous] for contiguous in instances.gt_classes.tolist()], dtype=torch.int64
            ),
            masks=masks.tensor.bool(),
            semantic=self._semantic(sample, size),
        )

    def _semantic(self, sample: dict[str, Any], size: Sequence[int]) -> Tensor:
        if "sem_seg" in sample:
            labels = sample["sem_seg"].long()
            return labels.masked_fill(labels == IGNORE_LABEL, IGNORE)
        if self.model.config.semantic.enabled:
            raise DatasetError(
                f"{sample.get('file_name', 'a sample')}: has no semantic map. Train on a panoptic data set, or without "
                "the semantic branch (model.semantic.enabled)."
            )
        return torch.full(tuple(size), IGNORE)

    def _output(self, prediction: PanopticPrediction) -> dict[str, Any]:
        found = prediction.instances
        contiguous = torch.tensor(list(self.ids.things.values()), dtype=torch.int64, device=found.labels.device)
        instances = Instances(
            found.size,
            pred_boxes=Boxes(found.boxes.float()),
            scores=found.scores.float(),
            pred_classes=contiguous[found.labels],
            pred_masks=found.masks,
        )
        segments = [
            {
                "id": segment.id,
                "isthing": segment.is_thing,
                "category_id": self.ids.contiguous(segment.category_id, segment.is_thing),
                "score": segment.score,
                "area": segment.area,
            }
            for segment in prediction.segments
        ]
        output = {"instances": instances, "panoptic_seg": (torch.from_numpy(prediction.id_map), segments)}
        if self.model.config.semantic.enabled:
            labels = torch.arange(1 + len(self.ids.stuff), dtype=torch.uint8)[:, None, None]
            output["sem_seg"] = (torch.from_numpy(prediction.semantic) == labels).view(torch.uint8)
        return output


def register_datasets(cfg: CfgNode) -> None:
    """Register what the `data` section of `MODEL.PANOPTIC_BLEND.CONFIG` describes, as far as `DATASETS` names it.

    Its training images become `panoptic_blend_train`, its validation images `panoptic_blend_val`.

    Raises:
        ConfigError: the configuration cannot be read.
        DatasetError: the annotations cannot be read or do not hold together.
    """
    data = _settings(cfg).data
    root = Path(data.root)
    for name, images, panoptic_json, segments in (
        ("panoptic_blend_train", data.train_images, data.train_annotations, data.train_segments),
        ("panoptic_blend_val", data.val_images, data.val_annotations, data.val_segments),
    ):
        if name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
            register_panoptic(name, root / images, root / panoptic_json, root / segments if segments else None)


def _settings(cfg: CfgNode) -> Config:
    node = cfg.MODEL.PANOPTIC_BLEND
    overrides = [f"--{setting.removeprefix('--')}" for setting in node.SETTINGS]
    return read_config([node.CONFIG] if node.CONFIG else [], overrides)


def _build(cfg: CfgNode, ids: ContiguousIds) -> Model:
    node = cfg.MODEL.PANOPTIC_BLEND
    if cfg.MODEL.WEIGHTS.endswith(".pkl"):
        raise ConfigError(
            f"MODEL.WEIGHTS is {cfg.MODEL.WEIGHTS}, a file of another network, and this key takes checkpoints of this "
            'one. Set it to "" and name the file (not a URL) in MODEL.PANOPTIC_BLEND.INIT_FROM.'
        )
    if not node.CHECKPOINT:
        model = build_model(_settings(cfg).model, ids.categories)
        if node.INIT_FROM:
            lines = initialise(model, node.INIT_FROM).lines()
            logging.getLogger("detectron2.panoptic_blend").info("\n".join(lines))
        elif not cfg.MODEL.WEIGHTS:  # which detectron2 loads next
            load_backbone_weights(model)
        return model
    if node.CONFIG or node.SETTINGS or node.INIT_FROM:
        raise ConfigError(
            "MODEL.PANOPTIC_BLEND.CHECKPOINT brings network and weights; leave CONFIG, SETTINGS and INIT_FROM empty."
        )
    model = load_checkpoint(node.CHECKPOINT)
    differences = model.categories.differences(ids.categories, "the checkpoint", "the data set")
    if differences:
        raise ConfigError(
            f"{node.CHECKPOINT}: its categories are not those of the data set in DATASETS: {differences}. Register the "
            "data set the checkpoint was trained for, or start from its weights with INIT_FROM instead of CHECKPOINT."
        )
    theirs, ours = ([c.id for c in (*each.things, *each.stuff)] for each in (ids.categories, model.categories))
    if theirs != ours:
        raise ConfigError(
            f"{node.CHECKPOINT}: predicts category ids in the order {ours}, but the data set in DATASETS has {theirs}. "
            "Register it with its categories in the checkpoint's order."
        )
    return model
