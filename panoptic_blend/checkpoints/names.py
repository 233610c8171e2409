"""What a person calls a model: a path, the name of a known one, or one on a hub."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.catalogue.fetching import cached_file, fetch, model_folder
from panoptic_blend.catalogue.models import MODELS, KnownModel
from panoptic_blend.checkpoints.convert import convert_published
from panoptic_blend.checkpoints.hub import PREFIX, download_model
from panoptic_blend.checkpoints.native import load_model
from panoptic_blend.errors import CheckpointError
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.spelling import did_you_mean


def load_checkpoint(source: Path | str) -> PanopticBlend:
    """As `load_model`, of a path or a known model's name.

    Raises:
        CheckpointError: no such model, or weights that only start a training.
        DownloadError: a known model that is not here and cannot be brought here.
    """
    known = _find_known(source)
    if known is not None and known.kind == "start":
        raise CheckpointError(
            f"{source}: are weights to start a training from, no model that predicts. Give them as `train --init-from "
            f"{source}`."
        )
    return load_model(find_checkpoint(source))


def find_checkpoint(source: Path | str) -> Path:
    """The file or folder that a path or a model's name stands for; what is not here is downloaded at first use.

    A path that exists wins over a name. Several processes download a model once: the others wait.

    Args:
        source: any path, a name that `panoptic-blend models` lists, or `hf:OWNER/MODEL[@REVISION]` on Hugging Face's
            hub.

    Returns:
        The path as it is; of AdelaiDet's models, our own file with the same numbers; of others, their makers' file.

    Raises:
        CheckpointError: neither a path nor a name; the message has the nearest name. Or the model cannot be converted.
        DownloadError: the model is not here and cannot be brought here.
    """
    known = _find_known(source)
    if known is not None:
        return _bring(known)
    if Path(source).as_posix().startswith(PREFIX):
        return download_model(Path(source).as_posix())
    if not Path(source).exists():
        remedy = "Name a run's folder, a file of weights, a model of `panoptic-blend models`, or hf:OWNER/MODEL."
        near = did_you_mean(str(source), [model.name for model in MODELS], remedy)
        raise CheckpointError(f"{source}: no such file.{near}")
    return Path(source)


def usable_file(model: KnownModel) -> Path:
    """The file that is read when a known model is used, whether it is here already or not."""
    if model.file is not None:
        return model.file
    converted = model_folder(model) / f"{model.name}.safetensors"
    return converted if model.maker == "AdelaiDet" else cached_file(model)


def _find_known(source: Path | str) -> KnownModel | None:
    named = [model for model in MODELS if model.name == str(source)]
    return named[0] if named and not Path(source).exists() else None


def _bring(model: KnownModel) -> Path:
    file = usable_file(model)
    if model.file is not None or (model.maker == "AdelaiDet" and file.is_file()):
        return file
    with lock_folder(model_folder(model), wait=True):
        if not (model.maker == "AdelaiDet" and file.is_file()):  # another process may have been faster
            published = fetch(model)
            if published != file:
                convert_published(published, file, model.configuration)
                published.unlink()
    return file
