"""Start a model from weights trained elsewhere, or for other categories: what fits is loaded, the rest is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from panoptic_blend.catalogue.models import INSTANCES_ONLY
from panoptic_blend.checkpoints import adelaidet, detectron2, torchvision
from panoptic_blend.checkpoints.class_rows import has_class_rows, match_categories, rearrange_class_rows
from panoptic_blend.checkpoints.files import read_weights
from panoptic_blend.checkpoints.input_bands import extend_bands
from panoptic_blend.checkpoints.names import find_checkpoint
from panoptic_blend.checkpoints.naming import COUNTER, Rules, match_tensors
from panoptic_blend.checkpoints.native import find_model, read_description
from panoptic_blend.config import InputConfig
from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.network.backbone import ResNet
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

_BACKBONE = "network.backbone."
_OURS: Rules = [("(.*)", r"\1")]

_CAFFE = InputConfig(pixel_mean=(103.53, 116.28, 123.675), pixel_std=(1.0, 1.0, 1.0), channel_order="BGR")
_TORCHVISION = InputConfig(pixel_mean=ResNet.pixel_mean, pixel_std=ResNet.pixel_std)


@dataclass(frozen=True)
class _Source:
    """One kind of weights file.

    Attributes:
        name: what a person calls it.
        marks: the start of a tensor's name that no other kind has; kinds are tried in order.
        rules: our names -> its names.
        input: how its images were normalised, when all files of the kind agree.
        stride_in_1x1: where its bottlenecks stride, likewise.
    """

    name: str
    marks: str
    rules: Rules
    input: InputConfig | None = None
    stride_in_1x1: bool | None = None


def _sources(finest_level: int) -> list[_Source]:
    d2_resnet = detectron2.resnet_rules("backbone.bottom_up.")
    panoptic_fpn = [*d2_resnet, *detectron2.fpn_rules(finest_level), *detectron2.semantic_rules("sem_seg_head.")]
    return [
        _Source("panoptic_blend", "network.", _OURS),
        _Source("AdelaiDet", "proposal_generator.fcos_head.", adelaidet.parameter_rules(finest_level), _CAFFE, True),
        _Source("detectron2", "backbone.bottom_up.", panoptic_fpn, _CAFFE, True),
        _Source("detectron2 backbone", "stem.conv1.", detectron2.resnet_rules("")),
        _Source("Caffe2 backbone", "res2_0_branch2a_w", detectron2.caffe2_resnet_rules(), _CAFFE, True),
        _Source("torchvision FCOS", "backbone.body.", torchvision.fcos_rules(finest_level), _TORCHVISION, False),
        _Source("torchvision ResNet", "layer1.0.", torchvision.resnet_rules(""), _TORCHVISION, False),
    ]


@dataclass
class Initialisation:
    """What `initialise` did.

    Attributes:
        source: the kind of file.
        loaded: names of our tensors that were filled.
        resized: our name -> sentence, for tensors whose shape differs: heads for other classes, normally.
        missing: names of our tensors the file has nothing for.
        surplus: the file's names that nothing of ours takes.
        new_categories: of ours that the file's model does not predict: what belongs to them keeps its values.
        notes: what else a person should know.
    """

    source: str
    loaded: list[str]
    resized: dict[str, str]
    missing: list[str]
    surplus: list[str]
    new_categories: list[str]
    notes: list[str]

    def lines(self) -> list[str]:
        """The whole as lines to print; tensors of one part are counted, not listed."""
        lines = [f"{self.source} weights: {len(self.loaded)} tensors loaded."]
        for name, sentence in self.resized.items():
            lines.append(f"  re-initialised, of another size: {name} ({sentence})")
        if self.missing:
            lines.append(f"  re-initialised, not in the file: {_by_part(self.missing)}")
        if self.new_categories:
            shown = ", ".join(self.new_categories[:10])
            more = f" and {len(self.new_categories) - 10} more" if len(self.new_categories) > 10 else ""
            lines.append(f"  re-initialised, for categories that the file's model does not predict: {shown}{more}")
        if self.surplus:
            lines.append(f"  not used: {_by_part(self.surplus)}")
        return lines + [f"  note: {note}" for note in self.notes]


def initialise(model: PanopticBlend, path: Path | str) -> Initialisation:
    """Load what fits from any weights file: tensors of the same meaning and shape; all others keep their values.

    Our own files name their categories. What belongs to a category of the same name, thing or stuff as here, is loaded
    wherever the two lists have it. In other files categories are taken to be listed as in the model.

    Args:
        model: its categories and sizes may differ from the file's.
        path: a run's folder or .safetensors file of ours; a BlendMask checkpoint of AdelaiDet's; a model or backbone
            of detectron2's (.pkl, .pth; Caffe2's names too); torchvision's ResNet or FCOS (.pth, .safetensors); or a
            known model's name.

    Raises:
        CheckpointError: the file is unreadable, hostile or of no known kind; nothing in it fits; or a backbone with
            frozen parts would be left with random weights.
    """
    path = find_weights(path)
    tensors = read_weights(path)
    source = _recognise(tensors, _sources(model.config.fpn.finest_level), path)
    own = model.state_dict()
    described = read_description(path) if source.rules == _OURS else None
    rules, listed = source.rules, None
    if described is not None:
        theirs, listed = described
        rules = _pyramid_by_level(model.config.fpn.finest_level, theirs.fpn.finest_level)
        tensors = rearrange_class_rows(own, tensors, model.config, model.categories, listed)
    backbone = {name: tensor for name, tensor in own.items() if name.startswith(_BACKBONE)}
    tensors, extended = extend_bands(backbone, tensors, rules)
    matched = match_tensors(own, adelaidet.laid_out_as_here(tensors), rules)
    loaded = _complete_norms(matched.fitting, own)
    if not loaded:
        raise CheckpointError(f"{path}: {source.name} weights, but none of its tensors has a place in this model.")
    missing = [name for name in own if name not in {*loaded, *matched.misshaped} and not name.endswith(COUNTER)]
    _check_backbone(model, [*missing, *matched.misshaped], path)
    model.load_state_dict({**own, **loaded})
    notes = [*_differences(model, source), *extended]
    new_categories: list[str] = []
    if listed is not None:
        known = {mine.id for mine, _ in match_categories(model.categories, listed)}
        new_categories = [model.categories.describe(c.id) for c in model.categories if c.id not in known]
        if model.config.semantic.enabled and not listed.stuff:
            notes.append("the file's model finds things alone: what is for stuff keeps its values.")
    elif any(has_class_rows(name, model.config) for name in loaded):
        if model.config.semantic.enabled and source.name == "AdelaiDet" and not adelaidet.has_semantic_branch(tensors):
            notes.append(f"the file is of a model for instances: what is for stuff keeps its values. {INSTANCES_ONLY}")
        notes.append("the file does not name its categories; they are taken to be the data set's, in the same order.")
    return Initialisation(
        source.name, sorted(loaded), matched.misshaped, missing, matched.surplus, new_categories, notes
    )


def find_weights(source: Path | str) -> Path:
    """The file `initialise` reads: the one that a path or a known model's name stands for, or a run's best (else last).

    Raises:
        CheckpointError: there is none.
        DownloadError: a known model that is not here and cannot be brought here.
    """
    path = find_checkpoint(source)
    return find_model(path) if path.is_dir() else path


def _pyramid_by_level(finest_level: int, theirs: int) -> Rules:
    """Between two models of ours: a pyramid counts its convolutions from its finest level, which may differ."""
    moved = [
        (rf"network\.fpn\.(lateral|output)\.{level - finest_level}\.(.*)", rf"network.fpn.\1.{level - theirs}.\2")
        for level in range(finest_level, 6)
    ]
    return [*moved, *_OURS]


def _recognise(tensors: Mapping[str, Tensor], sources: list[_Source], path: Path) -> _Source:
    for source in sources:
        if any(name.startswith(source.marks) for name in tensors):
            return source
    some, known = ", ".join(list(tensors)[:3]), ", ".join(source.name for source in sources)
    raise CheckpointError(
        f"{path}: its tensors ({some}, ...) are of no kind this program knows. It reads those of {known}."
    )


def _complete_norms(fitting: Mapping[str, Tensor], own: Mapping[str, Tensor], eps: float = 1e-5) -> dict[str, Tensor]:
    """Give norms that were folded to a scale and a shift, as Caffe2's are, the statistics that leave them so."""
    completed = dict(fitting)
    for name in own.keys() - fitting.keys():
        norm, _, kind = name.rpartition(".")
        if name.startswith(_BACKBONE) and f"{norm}.weight" in fitting and kind in ("running_mean", "running_var"):
            completed[name] = torch.full_like(fitting[f"{norm}.weight"], 0.0 if kind == "running_mean" else 1 - eps)
    return completed


def _check_backbone(model: PanopticBlend, empty: list[str], path: Path) -> None:
    backbone = [name for name in empty if name.startswith(_BACKBONE)]
    settings = model.config.backbone
    # Offsets of deformable convolutions start at zero, which is an ordinary convolution.
    backbone = [name for name in backbone if ".offset." not in name]
    frozen = settings.norm == "frozen" or settings.frozen_stages > 0
    if backbone and frozen and settings.name.startswith("resnet"):  # others are trained whole, whatever is set
        raise CheckpointError(
            f"{path}: has no fitting weights for {len(backbone)} tensors of {settings.name}, such as {backbone[0]}, "
            "and parts of it are frozen. Set model.backbone to the network the file was made with, or to train all of "
            "it (model.backbone.norm batch, model.backbone.frozen_stages 0)."
        )


def _differences(model: PanopticBlend, source: _Source) -> list[str]:
    """Where the model feeds or runs the backbone otherwise than its weights are used to."""
    expected = {}
    if source.input is not None:
        for setting in ("channel_order", "pixel_mean", "pixel_std"):
            value, theirs = getattr(model.config.input, setting), getattr(source.input, setting)
            known = value[:3] if isinstance(value, tuple) else value  # of the bands that the weights are for
            expected[f"model.input.{setting}"] = known, theirs
    if source.stride_in_1x1 is not None:
        expected["model.backbone.stride_in_1x1"] = (model.config.backbone.stride_in_1x1, source.stride_in_1x1)
    return [
        f"{setting} is {value!r}; {source.name} weights are normally trained with {theirs!r}."
        for setting, (value, theirs) in expected.items()
        if value != theirs
    ]


def _by_part(names: list[str]) -> str:
    """'network.bases (12 tensors), ...': the first two words of the names, counted."""
    parts: dict[str, int] = {}
    for name in names:
        part = ".".join(name.split(".")[:2])
        parts[part] = parts.get(part, 0) + 1
    return ", ".join(f"{part} ({count} tensors)" if count > 1 else part for part, count in parts.items())
