"""Weights that a model's backbone starts training from: the library's own, or those of a file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from panoptic_blend.catalogue.cache import is_offline
from panoptic_blend.checkpoints.files import read_weights
from panoptic_blend.checkpoints.input_bands import extend_bands
from panoptic_blend.checkpoints.naming import Rules, match_tensors
from panoptic_blend.errors import MALFORMED, CheckpointError, ConfigError
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.modeling.network.backbone import ResNet, TimmBackbone
from panoptic_blend.modeling.network.efficientnet_lite import EfficientNetLite
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

_SAME_NAMES: Rules = [("(.*)", r"\1")]


def load_backbone_weights(model: PanopticBlend) -> list[str]:
    """Fill a model's backbone with the weights that its `model.backbone.weights` names; 'none' leaves random ones.

    'imagenet' downloads the library's weights, torchvision's or timm's, once into its cache. A file has a state dict
    under the library's names; the classifier in it is left out.

    Returns:
        What a person should know of it: that weights for RGB were made to fit other bands, see `extend_bands`.

    Raises:
        ConfigError: no weights are named, but norms are frozen, which need trained ones.
        CheckpointError: the download fails, the file is missing, unreadable or hostile, or its tensors do not fit.
    """
    settings, backbone = model.config.backbone, model.network.backbone
    if settings.weights == "none":
        if settings.norm == "frozen" and isinstance(backbone, ResNet):
            raise ConfigError(
                "model.backbone.norm is 'frozen' but weights is 'none': random weights need 'batch' or 'group'. "
                "Or start from trained ones: `train --init-from FILE`, or their file as model.backbone.weights."
            )
        return []
    state = _download(settings.name) if settings.weights == "imagenet" else _read(Path(settings.weights))
    if isinstance(backbone, TimmBackbone):
        state, backbone = _by_pyramid_names(state, backbone), backbone.body
    elif isinstance(backbone, EfficientNetLite):
        state = {name: tensor for name, tensor in state.items() if not name.startswith(_LITE_CLASSIFIER)}
    else:
        state = _by_resnet_names(state, backbone)
    state, notes = extend_bands(backbone.state_dict(), state, _SAME_NAMES)
    matched = match_tensors(backbone.state_dict(), state, _SAME_NAMES)
    if complaints := matched.complaints(most=5):
        raise CheckpointError(f"model.backbone.weights {settings.weights}: does not fit {settings.name}: {complaints}.")
    backbone.load_state_dict(matched.fitting, strict=False)
    return notes


def _download(name: str) -> dict[str, Tensor]:
    if name == "efficientnet_lite0":
        name = "timm:tf_efficientnet_lite0"
    try:
        if name.startswith("timm:"):
            from timm import create_model

            return create_model(name.removeprefix("timm:"), pretrained=True).state_dict()
        weights = get_model_weights(name)["IMAGENET1K_V1"]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        if (folder / PurePosixPath(weights.url).name).is_file():
            return dict(weights.get_state_dict(progress=True, check_hash=True))
        if is_offline():
            raise FileNotFoundError("working offline forbids it, and they are not on this machine")
        with lock_folder(folder, wait=True):  # the first of a machine's processes downloads, for all of them
            return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (OSError, *MALFORMED) as error:  # no connection, no such weights, or a file that is not what was announced
        raise CheckpointError(
            f"model.backbone.weights imagenet: {name}'s weights could not be downloaded ({error}). Try again with a "
            "connection, or give a file's path, 'none', or --init-from."
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"model.backbone.weights: no file {path}. Give 'imagenet', 'none' or a file's path.")
    if path.suffix == ".pkl":
        raise CheckpointError(
            f"model.backbone.weights {path}: holds another project's names. Give it as `train --init-from {path}`."
        )
    return read_weights(path)


_LITE_CLASSIFIER = ("conv_head.", "bn2.", "classifier.")


def _by_resnet_names(state: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Torchvision's tensors without the classifier; a deformable block gets an ordinary one's and keeps its offsets."""
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    for name, tensor in backbone.state_dict().items():
        ordinary = name.replace(".conv2.conv.", ".conv2.")
        if ordinary != name and ordinary in state:
            state[name] = state.pop(ordinary)
        if ".conv2.offset." in name:
            state.setdefault(name, tensor)
    return state


def _by_pyramid_names(state: dict[str, Tensor], backbone: TimmBackbone) -> dict[str, Tensor]:
    """Timm's tensors without those of the classifier that its pyramid does not have."""
    from timm import create_model

    pyramid = {_plain(name): name for name in backbone.body.state_dict()}
    classifier = {_plain(name) for name in create_model(backbone.name).state_dict()}
    head = classifier - pyramid.keys()
    return {pyramid.get(_plain(name), name): tensor for name, tensor in state.items() if _plain(name) not in head}


def _plain(name: str) -> str:
    """What a tensor's names in timm's classifiers and pyramids have in common: stages.0.norm, model.stages_0.norm."""
    return name.removeprefix("model.").replace(".", "_")
