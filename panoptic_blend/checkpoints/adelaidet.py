"""AdelaiDet's BlendMask checkpoints become models of ours with the same numbers."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from panoptic_blend.catalogue.models import INSTANCES_ONLY
from panoptic_blend.categories import Categories
from panoptic_blend.checkpoints.adelaidet_settings import model_config, read_settings
from panoptic_blend.checkpoints.adelaidet_shapes import infer_settings
from panoptic_blend.checkpoints.detectron2 import NORM, fpn_rules, resnet_rules, semantic_rules
from panoptic_blend.checkpoints.naming import Rules, match_tensors
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

_log = logging.getLogger(__name__)

_HEAD = "proposal_generator.fcos_head."
_SEMANTIC = "panoptic_module."
_SCALES = f"{_HEAD}scales"
_UNREAD = re.compile(r"backbone\.bottom_up\.level[34]\.project\.")


@dataclass
class Conversion:
    """A converted model and what a person should know about it.

    Attributes:
        model: in evaluation mode, on the CPU.
        notes: sentences about what the checkpoint did not tell and was assumed.
    """

    model: PanopticBlend
    notes: list[str]


def from_adelaidet(
    state_dict: Mapping[str, Tensor], config: str | Path | None = None, categories: Categories | None = None
) -> PanopticBlend:
    """Convert an AdelaiDet BlendMask checkpoint; every tensor is used exactly once.

    Args:
        state_dict: tensors under AdelaiDet's names.
        config: its YAML, as a path or as text. Without it, the architecture is inferred from names and shapes, and
            what they do not tell is as in the published models; a log message says what was assumed.
        categories: of the data set it was trained on; by default COCO's for heads of COCO's size, else numbered ones.

    Raises:
        CheckpointError: tensors that are missing, surplus or of another shape, a part that is not supported here, or
            categories whose numbers differ from the heads'.
    """
    conversion = convert(state_dict, config, categories)
    for note in conversion.notes:
        _log.warning(note)
    return conversion.model


def convert(
    state_dict: Mapping[str, Tensor], config: str | Path | None = None, categories: Categories | None = None
) -> Conversion:
    """As `from_adelaidet`, with the notes beside the model instead of in the log."""
    notes: list[str] = []
    if config is None:
        settings, assumed = infer_settings(state_dict)
        values = ", ".join(f"{name} {settings[name]}" for name in assumed)
        notes.append(f"No configuration was given; assumed as in the published models: {values}.")
    else:
        settings = read_settings(config)
    ours = model_config(settings)
    num_stuff = settings["MODEL.SEM_SEG_HEAD.NUM_CLASSES"] - 1 if ours.semantic.enabled else 0
    num_things = settings["MODEL.FCOS.NUM_CLASSES"]
    if categories is None:
        categories, note = _default_categories(num_things, num_stuff)
        notes.append(note)
    elif (len(categories.things), len(categories.stuff) if num_stuff else 0) != (num_things, num_stuff):
        raise CheckpointError(
            f"the checkpoint has {num_things} thing and {num_stuff} stuff classes, the given categories "
            f"{len(categories.things)} and {len(categories.stuff)}. Give those it was trained on."
        )
    return Conversion(fill(build_model(ours, categories), state_dict), notes)


def fill(model: PanopticBlend, state_dict: Mapping[str, Tensor]) -> PanopticBlend:
    """Put every tensor of an AdelaiDet checkpoint into a model of its architecture, and return that for predicting.

    Raises:
        CheckpointError: tensors that are missing, surplus or of another shape.
    """
    rules = parameter_rules(model.config.fpn.finest_level)
    matched = match_tensors(model.state_dict(), laid_out_as_here(state_dict), rules)
    if complaints := matched.complaints():
        lost = f" {INSTANCES_ONLY}" if model.config.semantic.enabled and not has_semantic_branch(state_dict) else ""
        raise CheckpointError(f"the checkpoint does not fit its configuration: {complaints}.{lost}")
    model.load_state_dict({**model.state_dict(), **matched.fitting})
    return model.eval()


def has_semantic_branch(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether an AdelaiDet checkpoint is of a panoptic model, rather than of one for instances alone."""
    return any(name.startswith(_SEMANTIC) for name in state_dict)


def _default_categories(num_things: int, num_stuff: int) -> tuple[Categories, str]:
    coco = coco_categories()
    if num_things == len(coco.things) and num_stuff in (0, len(coco.stuff)):
        chosen = coco if num_stuff else Categories(coco.things)
        return chosen, "Categories are COCO's, as the heads have its numbers of classes."
    numbered = [("thing", i, True) for i in range(num_things)] + [("stuff", i, False) for i in range(num_stuff)]
    rows = [
        {"id": position, "name": f"{kind} {index}", "isthing": int(is_thing)}
        for position, (kind, index, is_thing) in enumerate(numbered, start=1)
    ]
    return Categories.from_json(rows), (
        f"Categories are numbered, as {num_things} things and {num_stuff} stuff classes are not COCO's; give the "
        "panoptic JSON it was trained on to have their ids and names."
    )


def parameter_rules(finest_level: int) -> Rules:
    """From our names to AdelaiDet's.

    Args:
        finest_level: of the pyramid, 2 or 3.
    """
    rules = [
        *resnet_rules("backbone.bottom_up."),
        (r"network\.backbone\.body\.(.*)", r"backbone.bottom_up.\1"),  # DLA has timm's names
        *fpn_rules(finest_level),
        *semantic_rules(_SEMANTIC),
        (r"network\.head\.scales", _SCALES),
        (r"network\.bases\.(refine|tower)\.(.*)", r"basis_module.\1.\2"),
        (r"mask_head\.top_layer\.(weight|bias)", r"top_layer.\1"),
    ]
    for ours, theirs in (
        (r"shared_tower\.(.*)", r"share_tower.\1"),
        (r"class_tower\.(.*)", r"cls_tower.\1"),
        (r"box_tower\.(.*)", r"bbox_tower.\1"),
        (r"class_logits\.(weight|bias)", r"cls_logits.\1"),
        (r"distances\.(weight|bias)", r"bbox_pred.\1"),
        (r"centerness\.(weight|bias)", r"ctrness.\1"),
    ):
        rules.append((rf"network\.head\.{ours}", _HEAD + theirs))
    for block in (0, 1):  # a block of ours is (convolution, norm, ReLU); theirs lie flat
        rules += [
            (rf"network\.auxiliary\.{block}\.0\.weight", f"basis_module.seg_head.{3 * block}.weight"),
            (rf"network\.auxiliary\.{block}\.1\.{NORM}", rf"basis_module.seg_head.{3 * block + 1}.\1"),
        ]
    rules.append((r"network\.auxiliary\.2\.(weight|bias)", r"basis_module.seg_head.6.\1"))
    return rules


def laid_out_as_here(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, where AdelaiDet has a module per level for what is one vector here, and projections in DLA
    whose result no layer reads.
    """
    kept = {name: tensor for name, tensor in state_dict.items() if not _UNREAD.match(name)}
    names = [name for name in (f"{_SCALES}.{level}.scale" for level in range(len(state_dict))) if name in kept]
    if names:
        kept[_SCALES] = torch.cat([kept.pop(name).view(-1) for name in names])
    return kept
